"""Who an order is credited to, and that the account adds up whatever is heard in which order."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import Policy
from schemas.learning import Reward
from schemas.outcome import Outcome
from schemas.topics import REWARDS
from scoring.attribution import TOUCHES_LIMIT, shares, split
from scoring.emit import Emit
from scoring.step import on_due, on_outcome
from scoring.world import World
from state.book import ORDERS_LIMIT, Exposure
from state.customer import Customer
from tests.builders import DAY, HOUR, MINUTE, on_cart, policy
from tests.harness import NOON_MS, Harness, consenting, event

MODELS = ("last_touch", "position", "time_decay")


def world(**fields: Any) -> World:
    found = World()
    found.policy = policy(**fields)
    return found


def exposed(*windows: tuple[int, int], holdout: frozenset[int] = frozenset()) -> Customer:
    """A customer with decisions d0, d1, … that were made and close so long after noon."""
    customer = Customer()
    customer.book.exposures = [
        Exposure(f"d{n}", f"c{n}", "sms", NOON_MS + at, NOON_MS + closes, holdout=n in holdout)
        for n, (at, closes) in enumerate(windows)
    ]
    return customer


def answer(kind: str, name: str = "", at: int = HOUR, number: int = 0, **fields: Any) -> Outcome:
    fields.setdefault("decision_id", name or None)
    return Outcome(f"{kind}-{number}", "ann", kind, NOON_MS + at, **fields)  # type: ignore[arg-type]


def take(customer: Customer, world: World, *outcomes: Outcome) -> list[Reward]:
    emits: list[Emit] = []
    for outcome in outcomes:
        emits += on_outcome(customer, outcome, int(outcome.ts), world).emits
    assert all(emit.topic == REWARDS for emit in emits)
    return [emit.record for emit in emits if isinstance(emit.record, Reward)]


def end_of(customer: Customer, world: World, outcome: Outcome) -> tuple[str, str]:
    return on_outcome(customer, outcome, int(outcome.ts), world)[:2]


def account(rewards: list[Reward]) -> dict[str, tuple[int, float, int, int]]:
    """Decision → micros credited, share, orders and their micros, all added up; zeros left out."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0, 0])
    for reward in rewards:
        row = sums[reward.decision_id]
        row[0] += round(reward.value * 1e6)
        row[1] += reward.share
        row[2] += reward.orders
        row[3] += round(reward.order_value * 1e6)
    rounded = {name: (*row[:1], round(row[1], 9), *row[2:]) for name, row in sums.items()}
    return {name: row for name, row in rounded.items() if any(row)}  # type: ignore[misc]


@pytest.mark.parametrize(
    ("model", "ages", "expected"),
    [
        ("last_touch", [], ()),
        ("last_touch", [3, 2, 1], (0, 0, 1)),
        ("position", [9], (1,)),
        ("position", [9, 3], (0.5, 0.5)),
        ("position", [9, 5, 4, 3], (0.4, 0.1, 0.1, 0.4)),
        ("time_decay", [20, 10, 0], (1 / 7, 2 / 7, 4 / 7)),
        ("time_decay", [10**15 + 10, 10**15], (1 / 3, 2 / 3)),
    ],
)
def test_a_model_shares_as_it_is_defined(model: Any, ages: list[int], expected: Any) -> None:
    assert shares(model, ages, 10) == pytest.approx(expected)


@given(
    st.sampled_from(MODELS),
    st.lists(st.integers(0, 400 * DAY), min_size=1, max_size=TOUCHES_LIMIT),
    st.integers(0, 10**15),
)
def test_credits_sum_to_the_value_to_the_micro_unit(
    model: Any, ages: list[int], micros: int
) -> None:
    parts = shares(model, ages, 7 * DAY)
    assert sum(parts) == pytest.approx(1)
    assert all(part >= 0 for part in parts)
    cut = split(micros, parts)
    assert sum(cut) == micros
    assert all(credit >= -1 for credit in cut)


def test_the_last_touch_gets_all_and_every_open_window_hears_of_the_order() -> None:
    customer = exposed((0, DAY), (MINUTE, DAY), (2 * MINUTE, 3 * MINUTE), (2 * HOUR, DAY))
    rewards = take(customer, world(), answer("converted", value=7.5))
    assert account(rewards) == {"d0": (0, 0, 1, 7_500_000), "d1": (7_500_000, 1, 1, 7_500_000)}
    assert {reward.kind for reward in rewards} == {"converted"}


def test_the_decision_that_an_order_names_is_the_last_touch() -> None:
    customer = exposed((0, DAY), (MINUTE, DAY))
    rewards = take(customer, world(), answer("converted", "d0", value=3))
    assert account(rewards)["d0"][:2] == (3_000_000, 1)
    assert account(rewards)["d1"][:2] == (0, 0)


def test_an_order_in_no_window_is_organic_and_so_is_that_of_a_held_out_customer() -> None:
    customer, rules = exposed((0, DAY), holdout=frozenset({0})), world()
    assert account(take(customer, rules, answer("converted", "d0", value=3))) == {
        "d0": (0, 0, 1, 3_000_000),
        "": (3_000_000, 1, 1, 3_000_000),
    }
    stranger = Customer()
    assert end_of(stranger, rules, answer("converted")) == ("updated", "organic")


@pytest.mark.parametrize(
    ("outcome", "end"),
    [
        (answer("clicked", "d9"), ("unmatched", "unknown_decision")),
        (answer("clicked", "d0", at=-6 * MINUTE), ("unmatched", "before_decision")),
        (answer("clicked", "d0", at=-4 * MINUTE), ("updated", "")),
        (answer("clicked", "d0", at=DAY + 1), ("unmatched", "after_window")),
        (answer("clicked", "d1"), ("unmatched", "held_out")),
        (answer("converted", "d9"), ("unmatched", "unknown_decision")),
        (answer("refunded", order_id="none"), ("unmatched", "unknown_order")),
        (answer("complained"), ("updated", "")),
    ],
)
def test_every_outcome_comes_to_a_stated_end(outcome: Outcome, end: tuple[str, str]) -> None:
    customer = exposed((0, DAY), (0, DAY), holdout=frozenset({1}))
    assert end_of(customer, world(), outcome) == end


def test_a_decision_of_another_customer_is_not_paid_for_a_click() -> None:
    stream = Harness([policy(), on_cart()])
    [decision] = stream.send(consenting(), event(action="cart"))
    name = decision["decision_id"]
    stream.outcome(outcome_id="o", user_id="bob", kind="clicked", ts=NOON_MS + 1, decision_id=name)
    assert stream.ends()[-1][3:] == ("unmatched", "unknown_decision")
    assert stream.outputs[REWARDS] == []


def test_what_comes_when_the_window_has_closed_is_known_to_be_too_late() -> None:
    stream = Harness([policy(), on_cart(attribution_window_ms=HOUR)])
    [decision] = stream.send(consenting(), event(action="cart"))
    stream.tick(NOON_MS + 2 * HOUR)
    name = decision["decision_id"]
    stream.outcome(outcome_id="o", user_id="ann", kind="clicked", ts=NOON_MS + 9, decision_id=name)
    assert stream.ends()[-1][3:] == ("unmatched", "after_window")
    assert [reward["kind"] for reward in stream.outputs[REWARDS]] == ["expired"]


def test_a_complaint_is_told_once_of_its_decision() -> None:
    customer = exposed((0, DAY))
    complaints = [answer("complained", "d0", number=n) for n in range(3)]
    assert [reward.kind for reward in take(customer, world(), *complaints)] == ["complained"]


def test_an_order_counts_once_even_when_its_event_is_long_forgotten() -> None:
    customer, rules = exposed((0, DAY)), world()
    order = answer("converted", value=5, order_id="a")
    refund = answer("refunded", value=2, order_id="a")
    first = take(customer, rules, order, refund)
    for number in range(200):
        later = answer("delivered", "d0", at=2 * HOUR + number * HOUR, number=number)
        customer.settle(int(later.ts), MINUTE)
        take(customer, rules, later)
    assert take(customer, rules, order, refund) == []
    again = answer("converted", value=5, order_id="a", number=2)
    assert end_of(customer, rules, again)[0] == "duplicate"
    assert account(first)["d0"][0] == 3_000_000


def test_no_more_is_given_back_than_was_paid() -> None:
    customer, rules = exposed((0, DAY)), world()
    order = answer("converted", value=5, order_id="a")
    refunds = [answer("refunded", value=4, order_id="a", number=n) for n in range(2)]
    assert account(take(customer, rules, order, *refunds)) == {}
    more = answer("refunded", value=1, order_id="a", number=9)
    assert end_of(customer, rules, more) == ("unmatched", "given_back")


def test_a_partial_refund_lowers_the_value_and_keeps_the_order() -> None:
    customer, rules = exposed((0, DAY), (1, DAY)), world(attribution="position")
    found = take(
        customer,
        rules,
        answer("converted", value=5, order_id="a"),
        answer("refunded", value=1, order_id="a"),
    )
    assert account(found) == {
        "d0": (2_000_000, 0.5, 1, 4_000_000),
        "d1": (2_000_000, 0.5, 1, 4_000_000),
    }
    assert [reward.kind for reward in found] == ["converted"] * 2 + ["reversed"] * 2


@pytest.mark.parametrize("model", MODELS)
def test_a_cancelled_order_leaves_nothing(model: Any) -> None:
    customer, rules = exposed((0, DAY), (5, DAY), (9, DAY)), world(attribution=model)
    order, cancelled = answer("converted", value=5, order_id="a"), answer("cancelled", order_id="a")
    assert account(take(customer, rules, order, cancelled)) == {}
    assert end_of(customer, rules, answer("cancelled", order_id="a", number=1))[1] == "given_back"


def test_memory_of_orders_and_their_touches_is_bounded() -> None:
    customer, rules = exposed(*[(n, DAY) for n in range(30)]), world(attribution="time_decay")
    for number in range(100):
        take(customer, rules, answer("converted", number=number, value=1))
        for again in range(20):
            refund = answer(
                "refunded", number=1000 * number + again, value=0, order_id=f"converted-{number}"
            )
            take(customer, rules, refund)
    orders = customer.book.orders
    assert len(orders) == ORDERS_LIMIT
    assert max(len(order.touches) for order in orders) == TOUCHES_LIMIT
    assert max(len(order.returns) for order in orders) <= 8
    assert Customer.decode(customer.encode()).book.orders == orders


_stories = st.lists(
    st.one_of(
        st.tuples(st.just("converted"), st.sampled_from(["", "d0", "d1", "d2", "d3", "d9"])),
        st.tuples(st.sampled_from(["refunded", "cancelled"]), st.just("")),
        st.tuples(st.just("clicked"), st.sampled_from(["d0", "d1", "d9"])),
        st.tuples(st.just("bounced"), st.sampled_from(["d2", "d3"])),
    ),
    max_size=12,
)


@st.composite
def outcomes_of_a_day(draw: st.DrawFn) -> list[Outcome]:
    """Outcomes of three orders and four messages; no message both arrives and bounces."""
    found = []
    for number, (kind, name) in enumerate(draw(_stories)):
        fields: dict[str, Any] = {}
        if kind in ("converted", "refunded", "cancelled"):
            order = draw(st.integers(0, 2))
            # An order comes once; what it is does not depend on which of its copies is heard.
            fields = {"order_id": f"order-{order}"}
            if kind == "converted":
                at, number, fields["value"] = order * HOUR, order, (order + 1) * 10 / 3
                name = ("", "d1", "d3")[order]
            else:
                at = draw(st.integers(0, DAY))
            if kind == "refunded":
                fields["value"] = draw(st.sampled_from([None, 0.0, 0.1, 2.5, 99.0]))
        else:
            at = draw(st.integers(0, 2 * HOUR))
        found.append(answer(kind, name, at=at, number=number, **fields))
    return found


@given(outcomes_of_a_day(), st.randoms(use_true_random=False), st.sampled_from(MODELS))
def test_any_order_of_outcomes_within_the_bound_comes_to_the_same(
    outcomes: list[Outcome], random: Any, model: Any
) -> None:
    windows = ((0, DAY), (MINUTE, 2 * HOUR), (HOUR, DAY), (90 * MINUTE, DAY))
    rules = world(attribution=model)
    customer = exposed(*windows, holdout=frozenset({0}))
    first = take(customer, rules, *outcomes)
    shuffled = list(outcomes)
    random.shuffle(shuffled)
    other = exposed(*windows, holdout=frozenset({0}))
    second = take(other, rules, *shuffled)
    assert account(first) == account(second)
    labels = [sorted((r.decision_id, r.kind) for r in each if r.reward) for each in (first, second)]
    assert labels[0] == labels[1]
    paid = sum(row[0] for row in account(first).values())
    assert paid == sum(order.left_micros for order in customer.book.orders if order.at_ms)
    assert take(customer, rules, *outcomes) == []


@given(outcomes_of_a_day())
def test_an_entry_is_told_once_by_its_decision_kind_and_outcome(outcomes: list[Outcome]) -> None:
    customer, rules = exposed((0, DAY), (0, DAY), (0, DAY)), world(attribution="position")
    found = take(customer, rules, *outcomes)
    names = [(r.decision_id, r.kind, r.outcome_id, r.order_id) for r in found]
    assert len(names) == len(set(names))


def test_a_bounce_moves_the_credit_to_who_is_left() -> None:
    customer, rules = exposed((0, DAY), (1, DAY)), world()
    found = take(customer, rules, answer("converted", "d1", value=6), answer("bounced", "d1", at=2))
    assert account(found) == {"d0": (6_000_000, 1, 1, 6_000_000)}


def test_the_window_of_a_held_out_customer_closes_without_a_label() -> None:
    customer, rules = exposed((0, HOUR), holdout=frozenset({0})), world()
    assert on_due("ann", customer, NOON_MS + HOUR, rules) == []
    assert customer.book.exposures == []


def test_the_default_is_the_last_touch() -> None:
    assert Policy().attribution == "last_touch"
