"""How long an outcome takes to be used: from its record on Kafka to a decision that knows of it.

Of each arm the k-th click is in the first posterior that has k clicks. From when Kafka was given
the outcome, it took so long as until the first decision of that arm that names this posterior or a
later one. All times are those of Kafka's records, on one machine.
"""

from __future__ import annotations

import json
import random
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any, NamedTuple

from benchmarks.learning.account import Arm, Read
from benchmarks.learning.stage import everything, no_caps, now_ms, settle, speaks_at
from benchmarks.live import Live
from jobs import kafka
from jobs.demo.command import publish
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


def responded(stream: Live, seconds: float) -> dict[str, Any]:
    """Clicks at a steady pace, and when decisions came to know of them."""
    name = "on-share"
    speaks = speaks_at(name, "share")
    publish(stream.settings, [speaks, no_caps(2)])
    began_ms = now_ms()
    answer_at_once(stream, seconds, name)
    settle(stream)
    found = responses((each for each in everything(stream) if each.at_ms >= began_ms), name)
    used = [each.used_ms for each in found]
    told = [each.published_ms for each in found]
    return {
        "responses": len(found),
        "posterior_p50_ms": percentile(used, 50),
        "posterior_p99_ms": percentile(used, 99),
        "posterior_published_p99_ms": percentile(told, 99),
    }


def answer_at_once(stream: Live, seconds: float, of: str) -> None:
    """Let customers share things, three hundred times a second; click on a tenth of the messages.

    A click goes out the moment its decision is read.
    """
    draw = random.Random(3)
    out = kafka.producer(stream.settings)
    reader = kafka.consumer(stream.settings, "beckon-proof-clicks")
    kafka.read_from_now(reader, [topics.DECISIONS])
    users = [f"sharer-{number}" for number in range(2_000)]
    consent = {"marketing": True, "sms": True, "push": True, "email": True}
    for user in users:
        login = {"event_id": f"in-{user}", "user_id": user, "action": "login", "ts": now_ms()}
        out.produce(topics.EVENTS, json.dumps({**login, "consent": consent}), user)
    out.flush()
    began_s = time.monotonic()
    sent = 0
    while (elapsed_s := time.monotonic() - began_s) < seconds + 2:
        while sent < min(elapsed_s, seconds) * 300:
            user = draw.choice(users)
            event = {"event_id": f"sh-{sent}", "user_id": user, "action": "share", "ts": now_ms()}
            out.produce(topics.EVENTS, json.dumps(event), user)
            sent += 1
        for message in reader.consume(100, 0.002):
            decision = json.loads(message.value() or b"{}")
            if decision["campaign_id"] != of or decision["status"] != "send":
                continue
            if draw.random() < 0.1:
                name = decision["decision_id"]
                click = {
                    "outcome_id": f"c-{name}", "user_id": decision["user_id"], "kind": "clicked",
                    "ts": now_ms(), "decision_id": name,
                }  # fmt: skip
                out.produce(topics.OUTCOMES, json.dumps(click), decision["user_id"])
        out.poll(0)
    reader.close()
    out.flush()
