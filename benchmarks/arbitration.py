"""How far arbitration stays behind the best plan in hindsight: `python -m benchmarks.arbitration`.

When several campaigns want a customer at one moment, the one that is worth more speaks, and uses up
the caps; nobody knows what will want to speak later. Of a sampled hour of the simulated day a
linear programme does know: it picks among all candidates of the hour, under the same caps, those
that are worth most together. The last line is JSON with both worths and the gap between them.

Then the same with half of the money: spent first come, first served, until there is none; spent
likewise, at the price of money that the programme found for the hour before; and spent as the
programme would that knows the whole hour.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace
from scipy.optimize import linprog
from scipy.sparse import coo_array

from benchmarks.core import SHARDS
from benchmarks.day import events, rules
from operators.shard import SEPARATOR, Decider, DeciderConfig, MemoryStore, shard_of
from schemas import topics
from schemas.budget import Budget
from schemas.control import Campaign, Cap, Pacing, control_key
from schemas.decision import Decision
from schemas.wire import encode

HOUR: Final = 13
"""Hours after the day's begin: noon in Berlin, evening in Shanghai, night for nobody."""
MOST: Final = 2
MOST_PROMO: Final = 1
CAPS: Final = (Cap(MOST, rules.HOUR_MS), Cap(MOST_PROMO, rules.HOUR_MS, category="promo"))

_decode: Final = msgspec.json.Decoder(Decision).decode


class _Event(msgspec.Struct):
    ts: int


_event: Final = msgspec.json.Decoder(_Event).decode


class Wanted(NamedTuple):
    """A campaign that passed every gate but the caps, what it is worth, and its expected cost."""

    user_id: str
    at_ms: int
    campaign_id: str
    value: float
    cost: float = 0.0

    @property
    def place(self) -> tuple[str, int, str]:
        """By which one run knows what another run wanted."""
        return self.user_id, self.at_ms, self.campaign_id


class Best(NamedTuple):
    """What the programme found: the most that can be had, and what more money would bring."""

    worth: float
    price: float


def measure(wanted_events: int, seed: int = 1) -> dict[str, Any]:
    """One hour by the core under the caps, and by the programme that knows the whole hour."""
    before, during = _split(wanted_events, seed, HOUR)
    candidates = _candidates(before, during)
    spoken = _decided(before, during, CAPS)
    reached, best = sum(each.value for each in spoken), optimum(candidates).worth
    return {
        "events": len(during),
        "candidates": len(candidates),
        "customers": len({each.user_id for each in candidates}),
        "sends": len(spoken),
        "worth": round(reached, 4),
        "worth_of_the_optimum": round(best, 4),
        "gap_ratio": round(1 - reached / best, 4),
        **_half_the_money(wanted_events, seed, before, during, candidates, spoken),
    }


def _half_the_money(
    wanted_events: int,
    seed: int,
    before: list[tuple[str, bytes]],
    during: list[tuple[str, bytes]],
    candidates: list[Wanted],
    spoken: list[Decision],
) -> dict[str, Any]:
    """The hour with half of the money that it would have spent."""
    known = {each.place: each for each in candidates}
    pot = sum(known[_place(each)].cost for each in spoken) / 2
    yesterday = _candidates(*_split(wanted_events, seed, HOUR - 1))
    price = 1 + optimum(yesterday, pot).price
    plan = Pacing("main", _day_of(HOUR), {}, price)
    priced = _decided(before, during, CAPS, plan)
    best = optimum(candidates, pot).worth
    worth = {
        "first_come": _spent([known[_place(each)] for each in spoken], pot),
        "priced": _spent([known[_place(each)] for each in priced], pot),
    }
    return {
        "money": round(pot, 4),
        "price": round(price, 4),
        **{f"{name}_worth": round(each, 4) for name, each in worth.items()},
        "money_optimum": round(best, 4),
        **{f"{name}_gap_ratio": round(1 - each / best, 4) for name, each in worth.items()},
    }


def optimum(candidates: Sequence[Wanted], pot: float | None = None) -> Best:
    """The most that any choice is worth, under `CAPS`, one at a moment, and within the pot."""
    promo = {each.id for each in rules.campaigns(1) if each.category == "promo"}
    bounds: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, each in enumerate(candidates):
        bounds["moment", each.user_id, each.at_ms].append(place)
        bounds["all", each.user_id].append(place)
        if each.campaign_id in promo:
            bounds["promo", each.user_id].append(place)
    most = {"moment": 1.0, "all": float(MOST), "promo": float(MOST_PROMO)}
    rows = np.repeat(np.arange(len(bounds)), [len(places) for places in bounds.values()])
    columns = np.concatenate([np.array(places) for places in bounds.values()])
    weights, limits = np.ones(rows.size), [most[str(key[0])] for key in bounds]
    if pot is not None:
        rows = np.concatenate([rows, np.full(len(candidates), len(limits))])
        columns = np.concatenate([columns, np.arange(len(candidates))])
        weights = np.concatenate([weights, [each.cost for each in candidates]])
        limits.append(pot)
    found = linprog(
        [-each.value for each in candidates],
        A_ub=coo_array((weights, (rows, columns)), (len(limits), len(candidates))),
        b_ub=limits,
        bounds=(0, 1),
        method="highs",
    )
    price = 0.0 if pot is None else -float(found.ineqlin.marginals[-1])
    return Best(float(-found.fun), price)


def _split(
    wanted_events: int, seed: int, hour: int
) -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]]:
    """The day's messages before an hour, and in it."""
    start_ms = events.BEGINS_MS + hour * rules.HOUR_MS
    before: list[tuple[str, bytes]] = []
    during: list[tuple[str, bytes]] = []
    for part in events.parts(seed, wanted_events):
        for key, value in part.messages:
            ts = _event(value).ts
            if ts < start_ms + rules.HOUR_MS:
                (before if ts < start_ms else during).append((key.decode(), value))
    return before, during


def _candidates(before: list[tuple[str, bytes]], during: list[tuple[str, bytes]]) -> list[Wanted]:
    """All that wanted to speak; what money costs more by is what each would cost."""
    twice = Pacing("main", _day_of(HOUR), {}, 2.0)
    dear = {each.place: each.value for each in _wanted(_decided(before, during, (), twice, 0))}
    return [
        each._replace(cost=each.value - dear[each.place])
        for each in _wanted(_decided(before, during, ()))
    ]


def _spent(spoken: Sequence[Wanted], pot: float) -> float:
    """What messages bring until the pot is empty, in the order in which they were wanted."""
    worth = 0.0
    for each in sorted(spoken, key=lambda each: each.at_ms):
        if each.cost <= pot:
            pot -= each.cost
            worth += each.value
    return worth


def _place(made: Decision) -> tuple[str, int, str]:
    return made.user_id, made.decided_at_ms, made.campaign_id


def _day_of(hour: int) -> str:
    at_ms = events.BEGINS_MS + hour * rules.HOUR_MS
    return datetime.fromtimestamp(at_ms / 1_000, UTC).date().isoformat()


def _wanted(decisions: Iterable[Decision]) -> Iterable[Wanted]:
    """The winner of each moment, and whom it displaced."""
    for made in decisions:
        yield Wanted(made.user_id, made.decided_at_ms, made.campaign_id, made.value)
        for other in made.losers:
            if other.reason == "lost_arbitration":
                yield Wanted(made.user_id, made.decided_at_ms, other.campaign_id, other.value)


def _decided(
    before: Iterable[tuple[str, bytes]],
    during: Iterable[tuple[str, bytes]],
    caps: tuple[Cap, ...],
    plan: Pacing | None = None,
    money: float = 1e6,
) -> list[Decision]:
    """What the core says in the hour; what came before it is known, and nobody spoke then.

    With a plan campaigns have a budget, which they never reach, so that its price binds them; with
    no ``money`` they have none, and are only ranked by it.
    """
    policy = replace(rules.POLICY, caps=caps, holdout_ratio=0.0)
    decider = Decider(DeciderConfig(200_000, lends=True), [(control_key(policy), encode(policy))])
    stores: defaultdict[str, MemoryStore] = defaultdict(MemoryStore)
    _take(decider, stores, before)
    budget = Budget(total=money, pace="none") if plan is not None and money else None
    if plan is not None:
        decider.on_control(control_key(plan), encode(plan))
    for spec in rules.campaigns(1):
        if spec.message == "marketing":
            free: Campaign = replace(spec, budget=budget, cooldown_ms=0, holdout_ratio=0.0)
            decider.on_control(control_key(free), encode(free))
    return _take(decider, stores, during)


def _take(
    decider: Decider, stores: defaultdict[str, MemoryStore], messages: Iterable[tuple[str, bytes]]
) -> list[Decision]:
    decisions = []
    for offset, (user, value) in enumerate(messages):
        shard = shard_of(user, SHARDS)
        head = (topics.EVENTS, "0", str(offset), str(events.BEGINS_MS + 30 * events.SPAN_MS))
        record = SEPARATOR.join((*head, value.decode("latin-1")))
        for output in decider.on_batch(shard, stores[shard], [record]):
            topic, _, body = output
            if topic == topics.DECISIONS:
                decisions.append(_decode(body))
    return decisions


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="of the day")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    print(json.dumps(measure(asked.events, asked.seed)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
