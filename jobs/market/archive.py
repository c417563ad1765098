"""``beckon simulate --archive``: days of a market, written where the archiver writes the stream's.

    market.events ─▶ customers (the stream's own state) ─▶ features ─▶ truth ─▶ clicks ─▶ customers

Events are the market's. After as many of them as are needed a message is shown: a campaign and a
discount are drawn, `scoring.features` computes its features from the customer as they are at that
moment, a truth says how likely the click is, and it is drawn. Its delivery and click go into the
customer's state at their time, like outcomes do. Left out is the choosing: no gate, no budget, no
bandit, so that a million examples take minutes and nothing but the truth decides. A decision is
what was drawn and what it cost at the usual prices; on some days some campaigns speak more, so that
what spending brings can be learned.

What customers tell of themselves is less than is true (`jobs.market.told`). The truth, and who they
are, lies beside the tables in ``truth/``, never in them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from msgspec.structs import replace
from rich.console import Console
from rich.progress import track

from jobs.archive.tables import EVENTS, starts_ms
from jobs.archive.write import MANIFEST, Manifest, read_manifest, replace_file
from jobs.market.archive_rows import Day, event_in, write_day
from jobs.market.faults import Faults
from jobs.market.market import Market
from jobs.market.observed import click_probability
from jobs.market.response import SHIPPED
from jobs.market.told import PAYMENT, Told, write_people
from schemas.control import AbsenceTrigger, Campaign, EventTrigger, Trigger
from schemas.decision import Offer
from schemas.errors import UserMistake
from schemas.event import BehaviorEvent
from schemas.outcome import CHANNELS
from schemas.topics import DAY_MS
from schemas.wire import decode_event, encode
from scoring.features import campaign_features, customer_features
from state.customer import Customer
from state.fact import Fact, fact_of_event, id64

Kind = Literal["observed", "tastes"]
KINDS: Final[dict[str, Kind]] = {"observed": "observed", "tastes": "tastes"}
"""Where clicks come of: `jobs.market.observed`, or `jobs.market.response`."""

WINDOW_MS: Final = 3_600_000
DISCOUNTS: Final = (0.0, 0.05, 0.1, 0.2)
LATENESS_MS: Final = 60_000
STEADY: Final = 30.0
"""How alike the days are in how much each campaign speaks; less moves them more."""

_TRIGGERS: Final[dict[str, Trigger]] = {
    "viewed-again": EventTrigger(actions=("view",), at_least=2, within_ms=1_800_000),
    "cart-reminder": EventTrigger(actions=("cart",), at_least=2, within_ms=1_800_000),
    "cart-abandonment": AbsenceTrigger(after=("cart",), without=("purchase",), within_ms=1_800_000),
    "win-back": AbsenceTrigger(after=("purchase",), without=("view",), within_ms=30 * DAY_MS),
}


def write_archive(
    root: Path,
    *,
    customers: int,
    examples: int,
    days: int,
    last: date,
    seed: int,
    truth: Kind = "observed",
    events: int | None = None,
    console: Console | None = None,
) -> dict[str, int]:
    """Write an archive of ``days`` days up to ``last``; returns how many rows each table got.

    Raises:
        UserMistake: there is an archive at ``root`` already.
    """
    if read_manifest(root).batch or any((root / EVENTS.name).glob("day=*")):
        raise UserMistake(f"{root} holds an archive already; name another folder")
    market = Market(seed, customers, faults=Faults.parse("none"))
    total = events if events is not None else max(examples, customers)
    begins_ms = starts_ms(last - timedelta(days=days - 1))
    stream = _stream(market, begins_ms, days, total, examples, seed, truth)
    counts = dict.fromkeys(("events", "outcomes", "examples", "decisions", "rewards"), 0)
    counts["clicks"] = 0
    write_people(root, market.population)
    bar = track(stream, "days", total=days, console=console or Console(stderr=True), transient=True)
    for day, rows in bar:
        counts["events"] += len(rows.events)
        counts["outcomes"] += len(rows.outcomes)
        counts["examples"] += len(rows.examples)
        counts["decisions"] += len(rows.examples)
        counts["rewards"] += len(rows.rewards)
        counts["clicks"] += sum(1 for row in rows.rewards if row[4] == "clicked")
        write_day(root, day, rows)
    replace_file(root / MANIFEST, encode(Manifest(batch=1)))
    return counts


def _stream(
    market: Market, begins_ms: int, days: int, total: int, examples: int, seed: int, truth: Kind
) -> Iterator[tuple[date, Day]]:
    rng = np.random.default_rng((seed, 8))
    known: dict[str, Customer] = {}
    pending: list[tuple[int, int, str, Fact, dict[str, Any]]] = []
    answers: dict[int, list[tuple[Any, ...]]] = {}  # by the day on which they come
    campaigns = shown_campaigns()
    chance = _chance(market, truth)
    spread = rng.dirichlet(np.full(len(campaigns), STEADY), days).cumsum(axis=1)
    shown = 0
    today, rows = begins_ms // DAY_MS, Day()
    ends_ms = begins_ms + days * DAY_MS
    # In the last hours nothing is shown, so that every window closes before the last night.
    speaking = max(1, round(total * (1 - 2 * WINDOW_MS / (ends_ms - begins_ms))))
    done = 0
    for at_ms, event in _events(market, begins_ms, ends_ms, total, seed):
        while pending and pending[0][0] <= at_ms:
            _settle(heapq.heappop(pending), known, rows)
        if at_ms // DAY_MS != today:
            rows.rewards = answers.pop(today, [])
            yield _date(today), rows
            today, rows = at_ms // DAY_MS, Day()
        user, ts = event.user_id, int(event.ts)
        customer = _accept(event, known, rows, at_ms)
        if event.action == PAYMENT:
            continue
        done += 1
        due = examples * min(done, speaking) // speaking - shown
        if due:
            profile = customer.profile()
            head = customer_features(profile, ts)
            share = spread[today - begins_ms // DAY_MS]
            for draw in rng.random((due, 6)).tolist():
                name = f"d{seed:x}-{shown:x}"
                shown += 1
                spec = campaigns[min(int(np.searchsorted(share, draw[0])), len(campaigns) - 1)]
                channel = CHANNELS[int(draw[1] * len(CHANNELS))]
                features = campaign_features(
                    head,
                    profile,
                    spec,
                    event.item_id,
                    event.item_category,
                    event.brand,
                    event.price,
                    ts,
                )
                likely = chance(user, spec, channel, event, features)
                clicked = draw[2] < likely
                rows.examples.append((name, user, spec.id, channel, features, 0.05, ts))
                rows.truth.append((name, likely))
                rows.offers.append((spec.offer.discount_ratio, event.item_id))
                closes = ts + (int(30_000 + 300_000 * draw[3]) if clicked else WINDOW_MS)
                answers.setdefault(closes // DAY_MS, []).append(
                    (
                        name,
                        user,
                        spec.id,
                        channel,
                        "clicked" if clicked else "expired",
                        float(clicked),
                        closes,
                        0.0,
                    )
                )
                if clicked and draw[4] < SHIPPED[spec.id].conversion_ratio:
                    price = event.price or 20 + 80 * draw[5]
                    value = round(price * (1 - spec.offer.discount_ratio), 2)
                    answers[closes // DAY_MS].append(
                        (name, user, spec.id, channel, "converted", 0.0, closes, value)
                    )
                for kind, then in (("delivered", ts + 1_000), ("clicked", closes)):
                    if kind == "delivered" or clicked:
                        _expect(pending, name, user, spec.id, channel, kind, then)
    while pending:
        _settle(heapq.heappop(pending), known, rows)
    rows.rewards = answers.pop(today, [])
    yield _date(today), rows


def _events(
    market: Market, begins_ms: int, ends_ms: int, total: int, seed: int
) -> Iterator[tuple[int, BehaviorEvent]]:
    """The market's events as customers let them be known, and what they pay; by when they come."""
    told = Told(market.population, begins_ms, ends_ms, seed)
    done = (
        (emission.due_ms, told.event(decode_event(emission.payload)))
        for emission in market.events(begins_ms, ends_ms, total)
    )
    paid = ((int(event.ts), event) for event in told.payments)
    yield from heapq.merge(paid, done, key=lambda each: each[0])


def _accept(event: BehaviorEvent, known: dict[str, Customer], rows: Day, at_ms: int) -> Customer:
    """Take an event into the customer's state and the day's rows."""
    customer = known.get(event.user_id)
    if customer is None:
        customer = known[event.user_id] = Customer()
    ts = int(event.ts)
    if customer.settles(ts, LATENESS_MS):
        customer.settle(ts, LATENESS_MS)
    customer.accept(fact_of_event(event, ts, id64(event.event_id), customer.book.revision + 1))
    rows.events.append(event_in(event, at_ms))
    return customer


def _expect(
    pending: list[tuple[int, int, str, Fact, dict[str, Any]]],
    name: str,
    user: str,
    campaign: str,
    channel: str,
    kind: str,
    ts: int,
) -> None:
    outcome_id = f"{name}-{kind}"
    digest = id64(outcome_id)
    fact = Fact(ts, digest, 0, kind, channel=channel, campaign=campaign)
    row = {
        "topic_partition": -1,
        "topic_offset": -1,
        "ingested_ms": ts,
        "outcome_id": outcome_id,
        "user_id": user,
        "kind": kind,
        "ts": ts,
        "decision_id": name,
        "campaign_id": campaign,
        "channel": channel,
    }
    heapq.heappush(pending, (ts, digest, user, fact, row))


def _settle(
    due: tuple[int, int, str, Fact, dict[str, Any]], known: dict[str, Customer], rows: Day
) -> None:
    ts, _, user, fact, row = due
    customer = known[user]
    if customer.settles(ts, LATENESS_MS):
        customer.settle(ts, LATENESS_MS)
    customer.accept(replace(fact, seq=customer.book.revision + 1))
    rows.outcomes.append(row)


def shown_campaigns() -> list[Campaign]:
    """What messages are drawn from: each campaign at each discount."""
    return [
        Campaign(
            id=name,
            version=1,
            name=name,
            trigger=trigger,
            channels=CHANNELS,
            offer=Offer("coupon" if discount else "none", discount),
            attribution_window_ms=WINDOW_MS,
        )
        for name, trigger in _TRIGGERS.items()
        for discount in DISCOUNTS
    ]


def _chance(
    market: Market, truth: Kind
) -> Callable[[str, Campaign, Any, BehaviorEvent, list[float]], float]:
    if truth == "observed":
        return lambda user, spec, channel, event, features: click_probability(features)
    tastes = market.truth

    def by_taste(
        user: str, spec: Campaign, channel: Any, event: BehaviorEvent, features: list[float]
    ) -> float:
        return tastes.true_click_probability(
            user,
            spec.id,
            channel,
            item_category=event.item_category,
            discount_ratio=spec.offer.discount_ratio,
            at_ms=int(event.ts),
        )

    return by_taste


def _date(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=day)
