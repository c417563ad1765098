"""Crashes at random points: no reward lost or counted twice, no example lost or changed.

The stream's operators run without a JVM (`tests.harness`). A crash takes their state back to the
last checkpoint, what was published stays, and the inputs since come again in other batches.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any, NamedTuple

from schemas import topics
from schemas.wire import encode
from tests.builders import DAY, HOUR, on_cart, policy
from tests.harness import NOON_MS, Harness, consenting, event

CHECKPOINT_EACH = 5
ANSWERS = ("clicked", "clicked", "bounced", "delivered", "nothing", "nothing")

Sent = tuple[str, list[dict[str, Any]]]
Sums = dict[str, tuple[float, float]]


class Found(NamedTuple):
    """What crashes did; all differences are to be 0."""

    crashes: int
    exposures: int
    clicks: int
    posterior_differences: int
    examples_lost: int
    examples_changed: int


def crashed(seed: int, steps: int, chance: float = 0.3) -> Found:
    """Send a step of events or answers at a time; crash after each with a chance."""
    rng = random.Random(seed)
    stream = Harness([policy(caps=()), on_cart(attribution_window_ms=HOUR)])
    saved, since = _save(stream), list[Sent]()
    crashes = 0
    unanswered: list[dict[str, Any]] = []
    for step in range(steps):
        if step % CHECKPOINT_EACH == 0:
            saved, since = _save(stream), []
        begins_ms = NOON_MS + step * 60_000
        payloads = []
        for number in range(6):
            user = f"u{step}-{number}"
            payloads.append(consenting(user, begins_ms + number))
            payloads.append(event(user, "cart", begins_ms + number + 1))
        made = stream.send(*payloads)
        since.append((topics.EVENTS, payloads))
        unanswered += made
        rng.shuffle(unanswered)
        half = len(unanswered) // 2
        answers = [a for each in unanswered[:half] for a in _answers(each, begins_ms, rng)]
        del unanswered[:half]
        stream.send(*answers, topic=topics.OUTCOMES)
        since.append((topics.OUTCOMES, answers))
        if rng.random() < chance:
            crashes += 1
            _crash(stream, saved)
            for topic, sent in since:
                stream.send(*sent, topic=topic, batch=rng.randrange(1, 20))
    stream.tick(NOON_MS + DAY)
    learned, truth = published(stream), oracle(stream)
    contents: dict[str, set[bytes]] = defaultdict(set)
    for each in stream.outputs[topics.EXAMPLES]:
        contents[each["decision_id"]].add(encode(each))
    decided = {each["decision_id"] for each in stream.outputs[topics.DECISIONS]}
    return Found(
        crashes,
        round(sum(seen for seen, _ in truth.values())),
        round(sum(won for _, won in truth.values())),
        sum(not _same(learned.get(arm), truth.get(arm)) for arm in learned.keys() | truth.keys()),
        len(decided ^ contents.keys()),
        sum(len(each) > 1 for each in contents.values()),
    )


def published(stream: Harness) -> Sums:
    """Exposures and clicks by channel, of the newest posteriors."""
    return {
        each["channel"]: (each["met"][0], each["won"][0])
        for each in stream.outputs[topics.CONTROL]
        if each["kind"] == "posterior"
    }


def oracle(stream: Harness) -> Sums:
    """The same, counted from the examples and rewards that left the stream, each once."""
    kinds: dict[str, set[str]] = defaultdict(set)
    for reward in stream.outputs[topics.REWARDS]:
        kinds[reward["decision_id"]].add(reward["kind"])
    examples = {each["decision_id"]: each for each in stream.outputs[topics.EXAMPLES]}
    seen: Counter[str] = Counter()
    won: Counter[str] = Counter()
    for name, example in examples.items():
        bounced = "bounced" in kinds[name]
        seen[example["channel"]] += not example["holdout"] and not bounced
        won[example["channel"]] += "clicked" in kinds[name] and not bounced
    return {channel: (float(count), float(won[channel])) for channel, count in seen.items()}


def _answers(decision: dict[str, Any], now_ms: int, rng: random.Random) -> list[dict[str, Any]]:
    """What becomes of a message: nothing, an answer, or the same answer twice."""
    kind = rng.choice(ANSWERS)
    if kind == "nothing" or decision["status"] != "send":
        return []
    answer = {
        "outcome_id": f"{kind}-{decision['decision_id']}",
        "user_id": decision["user_id"],
        "kind": kind,
        "ts": max(now_ms, decision["decided_at_ms"]) + rng.randrange(1, 50_000),
        "decision_id": decision["decision_id"],
    }
    return [answer] * rng.choice((1, 1, 2))


def _save(stream: Harness) -> tuple[Any, bytes | None, dict[str, bytes]]:
    return stream.checkpoint(), stream.challenger, dict(stream.unlabelled)


def _crash(stream: Harness, saved: tuple[Any, bytes | None, dict[str, bytes]]) -> None:
    checkpoint, stream.challenger, unlabelled = saved
    stream.crash(checkpoint)
    stream.unlabelled.clear()
    stream.unlabelled.update(unlabelled)


def _same(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    """Whether two sums are the same; nothing known of an arm is no exposure of it."""
    pairs = zip(one or (0.0, 0.0), other or (0.0, 0.0), strict=True)
    return all(abs(a - b) < 1e-9 for a, b in pairs)
