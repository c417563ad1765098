"""``beckon simulate --archive``: days of a market, written where the archiver writes the stream's.

    market.events ─▶ customers (the stream's own state) ─▶ features ─▶ truth ─▶ clicks ─▶ customers

Events are the market's. After as many of them as are needed a message is shown: a campaign and a
discount are drawn, `scoring.features` computes its features from the customer as they are at that
moment, a truth says how likely the click is, and it is drawn. Its delivery and click go into the
customer's state at their time, like outcomes do. Left out is the choosing: no gate, no budget, no
bandit, so that a million examples take minutes and nothing but the truth decides. A decision is
what was drawn and what it cost at the usual prices; on some days some campaigns speak more, so that
what spending brings can be learned.

Some customers keep their gender to themselves; members have a day on which that ends, and a few a
payment that will be due. The truth, and who they are, lies beside the tables in ``truth/``, never
in them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from msgspec.structs import replace
from rich.console import Console
from rich.progress import track

from jobs.archive.tables import (
    DECISIONS,
    EVENTS,
    EXAMPLES,
    OUTCOMES,
    REWARDS,
    event_row,
    starts_ms,
)
from jobs.archive.write import MANIFEST, Manifest, folder, read_manifest, replace_file, write_file
from jobs.market.faults import Faults
from jobs.market.market import Market
from jobs.market.observed import click_probability
from jobs.market.response import SHIPPED
from schemas.control import AbsenceTrigger, Campaign, EventTrigger, Policy, Trigger
from schemas.decision import Offer
from schemas.errors import UserMistake
from schemas.event import BehaviorEvent
from schemas.outcome import CHANNELS
from schemas.topics import DAY_MS
from schemas.wire import decode_event, encode
from scoring.features import FEATURE_HASH, campaign_features, customer_features
from state.customer import Customer
from state.fact import Fact, fact_of_event, id64

Kind = Literal["observed", "tastes"]
KINDS: Final[dict[str, Kind]] = {"observed": "observed", "tastes": "tastes"}
"""Where clicks come of: `jobs.market.observed`, or `jobs.market.response`."""

WINDOW_MS: Final = 3_600_000
DISCOUNTS: Final = (0.0, 0.05, 0.1, 0.2)
LATENESS_MS: Final = 60_000
TRUTH: Final = "truth"
PEOPLE: Final = "people.parquet"
RETICENT: Final = 0.4
"""Share of the customers who do not tell their gender."""

MEMBER_DAYS, PAYMENT_DAYS, OWING = 45, 60, 20
"""Memberships end within so many days; so are payments due, of one customer in so many."""

STEADY: Final = 30.0
"""How alike the days are in how much each campaign speaks; less moves them more."""

VERSION: Final = "simulated"

_TRUTH_SCHEMA: Final = pa.schema(
    [pa.field("decision_id", pa.string()), pa.field("click_probability", pa.float64())]
)
_TRIGGERS: Final[dict[str, Trigger]] = {
    "viewed-again": EventTrigger(actions=("view",), at_least=2, within_ms=1_800_000),
    "cart-reminder": EventTrigger(actions=("cart",), at_least=2, within_ms=1_800_000),
    "cart-abandonment": AbsenceTrigger(after=("cart",), without=("purchase",), within_ms=1_800_000),
    "win-back": AbsenceTrigger(after=("purchase",), without=("view",), within_ms=30 * DAY_MS),
}


class _Day:
    """The rows of a day, by column."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.outcomes: list[dict[str, Any]] = []
        self.examples: list[tuple[Any, ...]] = []
        self.rewards: list[tuple[Any, ...]] = []
        self.truth: list[tuple[str, float]] = []
        self.offers: list[tuple[float, str | None]] = []


_EXAMPLE: Final = (
    "decision_id", "user_id", "campaign_id", "channel", "features", "score", "decided_at_ms",
)  # fmt: skip
_REWARD: Final = (
    "decision_id", "user_id", "campaign_id", "channel", "kind", "reward", "ts", "value",
)  # fmt: skip


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
    _write_people(root, market)
    bar = track(stream, "days", total=days, console=console or Console(stderr=True), transient=True)
    for day, rows in bar:
        counts["events"] += len(rows.events)
        counts["outcomes"] += len(rows.outcomes)
        counts["examples"] += len(rows.examples)
        counts["decisions"] += len(rows.examples)
        counts["rewards"] += len(rows.rewards)
        counts["clicks"] += sum(1 for row in rows.rewards if row[4] == "clicked")
        _write(root, day, rows)
    replace_file(root / MANIFEST, encode(Manifest(batch=1)))
    return counts


def _stream(
    market: Market, begins_ms: int, days: int, total: int, examples: int, seed: int, truth: Kind
) -> Iterator[tuple[date, _Day]]:
    rng = np.random.default_rng((seed, 8))
    known: dict[str, Customer] = {}
    pending: list[tuple[int, int, str, Fact, dict[str, Any]]] = []
    answers: dict[int, list[tuple[Any, ...]]] = {}  # by the day on which they come
    campaigns = shown_campaigns()
    chance = _chance(market, truth)
    spread = rng.dirichlet(np.full(len(campaigns), STEADY), days).cumsum(axis=1)
    shown = 0
    today, rows = begins_ms // DAY_MS, _Day()
    ends_ms = begins_ms + days * DAY_MS
    # In the last hours nothing is shown, so that every window closes before the last night.
    speaking = max(1, round(total * (1 - 2 * WINDOW_MS / (ends_ms - begins_ms))))
    emissions = market.events(begins_ms, ends_ms, total)
    for done, emission in enumerate(emissions, 1):
        at_ms = emission.due_ms
        while pending and pending[0][0] <= at_ms:
            _settle(heapq.heappop(pending), known, rows)
        if at_ms // DAY_MS != today:
            rows.rewards = answers.pop(today, [])
            yield _date(today), rows
            today, rows = at_ms // DAY_MS, _Day()
        event = _told(market, decode_event(emission.payload), begins_ms)
        user = event.user_id
        customer = known.get(user)
        if customer is None:
            customer = known[user] = Customer()
        ts = int(event.ts)
        if customer.settles(ts, LATENESS_MS):
            customer.settle(ts, LATENESS_MS)
        customer.accept(fact_of_event(event, ts, id64(event.event_id), customer.book.revision + 1))
        rows.events.append(_event(event, at_ms))
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
    due: tuple[int, int, str, Fact, dict[str, Any]], known: dict[str, Customer], rows: _Day
) -> None:
    ts, _, user, fact, row = due
    customer = known[user]
    if customer.settles(ts, LATENESS_MS):
        customer.settle(ts, LATENESS_MS)
    customer.accept(replace(fact, seq=customer.book.revision + 1))
    rows.outcomes.append(row)


def _event(event: BehaviorEvent, ingested_ms: int) -> dict[str, Any]:
    row = event_row(event)
    row["topic_partition"] = row["topic_offset"] = -1
    row["ingested_ms"] = ingested_ms
    return row


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


def _told(market: Market, event: BehaviorEvent, begins_ms: int) -> BehaviorEvent:
    """What the customer tells of themselves, less what they keep and more of what they owe."""
    traits = event.traits
    if traits is None or (customer := market.population.index_of(event.user_id)) is None:
        return event
    # Spread by a multiplier without a pattern, so that it has to do with nothing else of them.
    own = customer * 2_654_435_761 % 2**32 / 2**32
    ends_ms = begins_ms + round(MEMBER_DAYS * own * DAY_MS)
    return replace(
        event,
        traits=replace(
            traits,
            gender=None if own < RETICENT else traits.gender,
            member_until_ms=ends_ms if market.population.level[customer] else None,
            payment_due_ms=begins_ms + round(PAYMENT_DAYS * own * DAY_MS)
            if customer % OWING == 0
            else None,
        ),
    )


def _write_people(root: Path, market: Market) -> None:
    """Who the customers are, whether they tell it or not."""
    people = market.population
    names = [people.user_id(each) for each in range(people.size)]
    genders = np.where(people.female, "female", "male").tolist()
    write_file(root / TRUTH / PEOPLE, pa.table({"user_id": names, "gender": genders}))


def _write(root: Path, day: date, rows: _Day) -> None:
    """One file a table and day, all of the archive's first batch; it counts by the manifest."""
    name = "0000000001-0000000001.parquet"
    placed = {"topic_partition": -1, "topic_offset": -1, "ingested_ms": 0}
    write_file(folder(root, EVENTS, day) / name, pa.Table.from_pylist(rows.events, EVENTS.schema))
    write_file(
        folder(root, OUTCOMES, day) / name, pa.Table.from_pylist(rows.outcomes, OUTCOMES.schema)
    )
    columns: dict[str, Any] = dict(zip(_EXAMPLE, zip(*rows.examples, strict=True), strict=True))
    columns.update(
        feature_hash=[FEATURE_HASH] * len(rows.examples),
        propensity=[1 / len(CHANNELS)] * len(rows.examples),
        model_version=[VERSION] * len(rows.examples),
        holdout=[False] * len(rows.examples),
        channels=[CHANNELS] * len(rows.examples),
    )
    write_file(folder(root, EXAMPLES, day) / name, _table(EXAMPLES.schema, columns, placed))
    _write_decisions(folder(root, DECISIONS, day) / name, rows, placed)
    columns = dict(zip(_REWARD, zip(*rows.rewards, strict=True), strict=True))
    columns["holdout"] = [False] * len(rows.rewards)
    for blank in ("outcome_id", "order_id"):
        columns[blank] = [""] * len(rows.rewards)
    write_file(folder(root, REWARDS, day) / name, _table(REWARDS.schema, columns, placed))
    names, likely = zip(*rows.truth, strict=True)
    path = root / TRUTH / f"day={day.isoformat()}" / name
    write_file(
        path,
        pa.table({"decision_id": names, "click_probability": likely}, schema=_TRUTH_SCHEMA),
    )


def _write_decisions(path: Path, rows: _Day, placed: dict[str, int]) -> None:
    """The decision of each example: sent, at what its channel usually costs."""
    names = ("decision_id", "user_id", "campaign_id", "channel", "score", "decided_at_ms")
    places = [_EXAMPLE.index(name) for name in names]
    columns: dict[str, Any] = {
        name: [row[place] for row in rows.examples]
        for name, place in zip(names, places, strict=True)
    }
    size = len(rows.examples)
    prices = {channel: round(cost * 1e6) for channel, cost in Policy().channel_cost.items()}
    discounts, items = zip(*rows.offers, strict=True)
    columns.update(
        status=["send"] * size,
        campaign_version=[1] * size,
        propensity=[1 / len(CHANNELS)] * size,
        model_version=[VERSION] * size,
        feature_hash=[FEATURE_HASH] * size,
        offer_type=["coupon" if each else "none" for each in discounts],
        offer_discount_ratio=discounts,
        item_id=items,
        cost_micros=[prices[channel] for channel in columns["channel"]],
    )
    write_file(path, _table(DECISIONS.schema, columns, placed))


def _table(schema: pa.Schema, columns: dict[str, Any], placed: dict[str, int]) -> pa.Table:
    size = len(columns["decision_id"])
    arrays = []
    for field in schema:
        if field.name in columns:
            arrays.append(pa.array(columns[field.name], field.type))
        elif field.name in placed:
            arrays.append(pa.array([placed[field.name]] * size, field.type))
        elif pa.types.is_floating(field.type) or pa.types.is_integer(field.type):
            arrays.append(pa.array([0] * size, field.type))
        else:
            arrays.append(pa.nulls(size, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)
