"""Customers' lives for Hypothesis: raw events and outcomes, and orders in which they may arrive."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from schemas.event import ACTIONS
from schemas.wire import decode_event, decode_outcome, encode, instant_ms
from state.customer import Customer
from state.fact import Fact, fact_of_event, fact_of_outcome, id64

START_MS = 1_700_000_000_000
LATENESS_MS = 300_000

_few = st.sampled_from
_maybe = st.none
# Steps that meet the edges of sessions, cart patience, buckets, days and windows.
_steps = st.one_of(
    st.integers(0, 90_000),
    _few([0, 1, 299_999, 300_000, 1_799_999, 1_800_000, 1_800_001, 3_600_000]),
    st.integers(0, 3 * 86_400_000),
)
_events = st.fixed_dictionaries(
    {"action": _few([*ACTIONS, "cart", "cart", "purchase", "view", "wishlist_opened"])},
    optional={
        "item_id": _few(["i1", "i2", "i3", "i4"]),
        "item_category": _few(["shoes", "books", "toys"]),
        "brand": _few(["ace", "bolt", "core", "dune", "echo"]),
        "price": st.integers(0, 400).map(lambda quarters: quarters / 4),
        "quantity": st.integers(0, 3),
        "consent": st.fixed_dictionaries(
            {}, optional={name: st.booleans() for name in ("marketing", "sms", "push", "email")}
        ),
        "traits": st.fixed_dictionaries(
            {},
            optional={
                "gender": _few(["f", "m"]),
                "city": _few(["Oslo", "Bergen"]),
                "phone": _few(["13812345678", "+47 22 22 22 22"]),
            },
        ),
        "device": st.fixed_dictionaries({}, optional={"type": _few(["phone", "tv"])}),
        "location": st.fixed_dictionaries(
            {"lat": st.integers(-90, 90), "lon": st.integers(-180, 180)},
            optional={"city": _few(["Oslo", "Bergen"])},
        ),
    },
)
_outcomes = st.fixed_dictionaries(
    {
        "kind": _few(
            [
                *("delivered", "opened", "clicked", "converted"),
                *("bounced", "unsubscribed", "complained"),
            ]
        ),
        "decision_id": st.just("d0"),
    },
    optional={
        "channel": _few(["sms", "push", "email"]),
        "value": st.integers(0, 80).map(lambda quarters: quarters / 4),
    },
)


@st.composite
def raw_events(draw: st.DrawFn, max_size: int = 40) -> list[dict[str, Any]]:
    """Behaviour events of one customer in time order, as a producer would send them."""
    return _timed(draw(st.lists(st.tuples(_steps, _events), max_size=max_size)))


@st.composite
def lives(draw: st.DrawFn, max_size: int = 40) -> list[Fact]:
    """Facts of one customer, events and outcomes, in event-time order."""
    kinds = st.one_of(_events, _events, _outcomes)
    raw = _timed(draw(st.lists(st.tuples(_steps, kinds), max_size=max_size)))
    return in_order([fact_of(record) for record in raw])


@st.composite
def arrivals(draw: st.DrawFn, facts: list[Fact], lateness_ms: int = LATENESS_MS) -> list[Fact]:
    """An order of arrival in which no fact is later than the bound, with some that come again."""
    delays = draw(st.lists(st.integers(0, lateness_ms), min_size=len(facts), max_size=len(facts)))
    keyed = sorted(zip(facts, delays, strict=True), key=lambda pair: pair[0].ts + pair[1])
    arrived = [fact for fact, _ in keyed]
    for fact in draw(st.lists(st.sampled_from(facts), max_size=5)) if facts else []:
        first = arrived.index(fact)
        arrived.insert(draw(st.integers(first + 1, len(arrived))), fact)
    return arrived


def _timed(steps: list[tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    ts, records = START_MS, []
    for number, (step, record) in enumerate(steps):
        ts += step
        identifier = "outcome_id" if "kind" in record else "event_id"
        records.append({identifier: f"n{number}", "user_id": "ann", "ts": ts, **record})
    return records


def fact_of(record: dict[str, Any]) -> Fact:
    """The fact in a raw event or outcome, through the contract."""
    raw = encode(record)
    if "kind" in record:
        outcome = decode_outcome(raw)
        ts = instant_ms(outcome.ts)
        return fact_of_outcome(outcome, ts, id64(outcome.outcome_id), 0, None, outcome.channel)
    event = decode_event(raw)
    return fact_of_event(event, instant_ms(event.ts), id64(event.event_id), 0)


def in_order(facts: list[Fact]) -> list[Fact]:
    """Facts by event time, those of one instant by their ids."""
    return sorted(facts, key=lambda fact: (fact.ts, fact.id64))


def take(customer: Customer, facts: list[Fact]) -> None:
    """Let a customer accept facts as the stream does: no duplicates, none settled too early."""
    for fact in facts:
        if not customer.knows(fact.id64):
            customer.settle(fact.ts, LATENESS_MS)
            customer.accept(fact)
