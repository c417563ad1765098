"""How far arbitration stays behind the best plan in hindsight: `python -m benchmarks.arbitration`.

When several campaigns want a customer at one moment, the one that is worth more speaks, and uses up
the caps; nobody knows what will want to speak later. Of a sampled hour of the simulated day a
linear programme does know: it picks among all candidates of the hour, under the same caps, those
that are worth most together. The last line is JSON with both worths and the gap between them.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
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
from schemas.control import Campaign, Cap, control_key
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
    """A campaign that passed every gate but the caps, and what it is worth."""

    user_id: str
    at_ms: int
    campaign_id: str
    value: float


def measure(wanted_events: int, seed: int = 1) -> dict[str, Any]:
    """One hour by the core under the caps, and by the programme that knows the whole hour."""
    start_ms = events.BEGINS_MS + HOUR * rules.HOUR_MS
    before: list[tuple[str, bytes]] = []
    during: list[tuple[str, bytes]] = []
    for part in events.parts(seed, wanted_events):
        for key, value in part.messages:
            ts = _event(value).ts
            if ts < start_ms + rules.HOUR_MS:
                (before if ts < start_ms else during).append((key.decode(), value))
    candidates = list(_wanted(_decided(before, during, ())))
    spoken = _decided(before, during, CAPS)
    reached, best = sum(each.value for each in spoken), optimum(candidates)
    return {
        "events": len(during),
        "candidates": len(candidates),
        "customers": len({each.user_id for each in candidates}),
        "sends": len(spoken),
        "worth": round(reached, 4),
        "worth_of_the_optimum": round(best, 4),
        "gap_ratio": round(1 - reached / best, 4),
    }


def optimum(candidates: Sequence[Wanted]) -> float:
    """The most that any choice among candidates is worth, under `CAPS` and one at a moment."""
    promo = {each.id for each in rules.campaigns(1) if each.category == "promo"}
    bounds: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, each in enumerate(candidates):
        bounds["moment", each.user_id, each.at_ms].append(place)
        bounds["all", each.user_id].append(place)
        if each.campaign_id in promo:
            bounds["promo", each.user_id].append(place)
    most = {"moment": 1, "all": MOST, "promo": MOST_PROMO}
    rows = np.repeat(np.arange(len(bounds)), [len(places) for places in bounds.values()])
    columns = np.concatenate([np.array(places) for places in bounds.values()])
    found = linprog(
        [-each.value for each in candidates],
        A_ub=coo_array((np.ones(rows.size), (rows, columns)), (len(bounds), len(candidates))),
        b_ub=[most[str(key[0])] for key in bounds],
        bounds=(0, 1),
        method="highs",
    )
    return float(-found.fun)


def _wanted(decisions: Iterable[Decision]) -> Iterable[Wanted]:
    """The winner of each moment, and whom it displaced."""
    for made in decisions:
        yield Wanted(made.user_id, made.decided_at_ms, made.campaign_id, made.value)
        for other in made.losers:
            if other.reason == "lost_arbitration":
                yield Wanted(made.user_id, made.decided_at_ms, other.campaign_id, other.value)


def _decided(
    before: Iterable[tuple[str, bytes]], during: Iterable[tuple[str, bytes]], caps: tuple[Cap, ...]
) -> list[Decision]:
    """What the core says in the hour; what came before it is known, and nobody spoke then."""
    policy = replace(rules.POLICY, caps=caps, holdout_ratio=0.0)
    decider = Decider(DeciderConfig(200_000), [(control_key(policy), encode(policy))])
    stores: defaultdict[str, MemoryStore] = defaultdict(MemoryStore)
    _take(decider, stores, before)
    for spec in rules.campaigns(1):
        if spec.message == "marketing":
            free: Campaign = replace(spec, budget=None, cooldown_ms=0, holdout_ratio=0.0)
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
            topic, _, body = output.split(SEPARATOR, 2)
            if topic == topics.DECISIONS:
                decisions.append(_decode(body.encode("latin-1")))
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
