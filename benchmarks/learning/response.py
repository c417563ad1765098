"""How long an outcome takes to be used: from its record on Kafka to a decision that knows of it.

Of each arm the k-th click is in the first posterior that has k clicks. From when Kafka was given
the outcome, it took so long as until the first decision of that arm that names this posterior or a
later one. All times are those of Kafka's records, on one machine.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import ceil
from typing import NamedTuple

from benchmarks.learning.account import Arm, Read
from schemas import topics


class Response(NamedTuple):
    """Milliseconds from a click to the posterior, and to a decision that used it."""

    published_ms: int
    used_ms: int


def responses(records: Iterable[Read], campaign: str) -> list[Response]:
    """Of the clicks of a campaign without bounces or decay, those that a decision came to know."""
    sent: dict[str, int] = {}
    clicks: dict[Arm, list[str]] = defaultdict(list)
    posteriors: dict[Arm, list[tuple[float, int, int]]] = defaultdict(list)
    decisions: dict[Arm, list[tuple[int, int]]] = defaultdict(list)
    known: set[str] = set()
    for record in records:
        if record.value is None:
            continue
        if record.topic == topics.CONTROL and not record.key.startswith("posterior/"):
            continue
        if record.topic not in _READ:
            continue
        found = json.loads(record.value)
        if found.get("campaign_id") != campaign and record.topic != topics.OUTCOMES:
            continue
        arm = found.get("campaign_id"), found.get("channel"), found.get("variant", "")
        match record.topic:
            case topics.OUTCOMES:
                sent.setdefault(found["decision_id"], record.at_ms)
            case topics.REWARDS:
                if found["kind"] == "clicked" and found["decision_id"] not in known:
                    known.add(found["decision_id"])
                    clicks[arm].append(found["decision_id"])
            case topics.CONTROL:
                posteriors[arm].append((found["won"][0], found["version"], record.at_ms))
            case topics.DECISIONS:
                decisions[arm].append((found["posterior_version"], record.at_ms))
    result: list[Response] = []
    for arm, names in clicks.items():
        mine, uses = posteriors[arm], _first_uses(decisions[arm])
        versions = [version for version, _ in uses]
        for number, name in enumerate(names, 1):
            place = bisect_left(mine, number, key=lambda each: each[0])
            if place == len(mine) or name not in sent:
                continue
            _, version, at_ms = mine[place]
            use = bisect_left(versions, version)
            if use < len(uses):
                result.append(Response(at_ms - sent[name], uses[use][1] - sent[name]))
    return result


_READ = (topics.OUTCOMES, topics.REWARDS, topics.CONTROL, topics.DECISIONS)


def _first_uses(decisions: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """(version, when it or a later one was first used), by version."""
    found: list[tuple[int, int]] = []
    earliest = None
    for version, at_ms in sorted(decisions, reverse=True):
        earliest = at_ms if earliest is None else min(earliest, at_ms)
        found.append((version, earliest))
    return found[::-1]


def percentile(values: Sequence[int], percent: float) -> int:
    """The least value that ``percent`` of the values do not exceed."""
    return sorted(values)[ceil(len(values) * percent / 100) - 1]
