"""How soon after a segment is left, or something has not happened, the decision is there.

Live: customers look around once and then do nothing. Seconds later two campaigns must speak, one to
who has left the segment of the active, one because no purchase followed. A shard acts when its
watermark has passed that moment, which is the policy's lateness bound and the grace of its ticks
later, and is no delay of the engine's: it is stated apart. Read is Kafka's time of the decision.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, Producer

from jobs import kafka
from jobs.campaigns import changes
from jobs.demo.command import publish
from jobs.settings import Settings
from operators.shard import shard_of
from schemas import topics
from schemas.change import Change
from schemas.control import Campaign, Policy, control_key
from schemas.triggers import AbsenceTrigger, EventTrigger, SegmentTrigger
from schemas.wire import encode
from state.clock import TICK_GRACE_MS

LATENESS_MS: Final = 1_000
WATERMARK_MS: Final = LATENESS_MS + TICK_GRACE_MS
IDLE_MS: Final = 3_000
NOTHING_MS: Final = 4_000
_EVERY_S: Final = 0.02
_PATIENCE_S: Final = 60.0
_ARRIVAL_S: Final = 300.0
_LAST: Final = "nothing-bought"
_NOTHING: Final = AbsenceTrigger(("login",), ("purchase",), NOTHING_MS)
_ALLOWED: Final = {"marketing": True, "push": True}

_decision: Final = msgspec.json.Decoder(dict[str, Any]).decode


def measure(settings: Settings, gone: list[Campaign], customers: int) -> dict[str, Any]:
    """Run ``customers`` through both campaigns in a running stream; ``gone`` are withdrawn before.

    Returns the 50th and 99th percentile and the maximum in ms beyond the watermark's delay, how
    many of the decisions were missing, and the watermark's delay.
    """
    now_ms = _now_ms()
    publish(
        settings,
        [
            *(msgspec.structs.replace(each, status="paused", updated_ms=now_ms) for each in gone),
            Policy(lateness_ms=LATENESS_MS, holdout_ratio=0.0, caps=(), updated_ms=now_ms),
            _campaign("left-the-active", SegmentTrigger("tempo_idle_s < 3", "exit"), now_ms),
            _campaign(_LAST, _NOTHING, now_ms),
        ],
    )
    reader = kafka.consumer(settings, "beckon-punctual")
    kafka.read_from_now(reader, [topics.DECISIONS])
    true_at: dict[tuple[str, str], int] = {}
    out = kafka.producer(settings)
    if not _arrived_at_today(settings, out, reader):
        return {"measured": 0, "missing": 2 * customers}
    for number in range(customers):
        user, ts = f"live-{number}", _now_ms()
        _say(out, "login", user, ts)
        true_at[user, "left-the-active"] = ts + IDLE_MS
        true_at[user, _LAST] = ts + NOTHING_MS
        time.sleep(_EVERY_S)
    out.flush(10)
    late: dict[tuple[str, str], int] = {}
    deadline_s = time.monotonic() + _PATIENCE_S
    while len(late) < len(true_at) and time.monotonic() < deadline_s:
        for message in reader.consume(500, timeout=0.1):
            if message.error() is None:
                made = _decision(message.value() or b"{}")
                place = (made["user_id"], made["campaign_id"])
                if place in true_at:
                    late.setdefault(place, message.timestamp()[1] - true_at[place] - WATERMARK_MS)
    reader.close()
    ordered = sorted(late.values())
    if not ordered:
        return {"measured": 0, "missing": len(true_at)}
    return {
        "measured": len(ordered),
        "missing": len(true_at) - len(ordered),
        "p50_ms": ordered[len(ordered) // 2],
        "p99_ms": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        "max_ms": ordered[-1],
        "watermark_ms": WATERMARK_MS,
    }


def applied_ms(settings: Settings) -> int | None:
    """From a change's being published to its first decision, by Kafka's times; None if none came.

    It is published as ``beckon campaigns apply`` does, while somebody says hello every few
    milliseconds.
    """
    out = kafka.producer(settings)
    reader = kafka.consumer(settings, "beckon-applied")
    kafka.read_from_now(reader, [topics.DECISIONS])
    now_ms = _now_ms()
    spec = _campaign("hello", EventTrigger(("hello",)), now_ms)
    key = control_key(spec)
    change = Change(key, "new", 1, now_ms, spec)
    first_ms: int | None = None
    number = 0
    with ThreadPoolExecutor(1) as aside:
        published = aside.submit(
            changes.publish, settings, lambda _running, _past: [change], "prove-decisions"
        )
        while first_ms is None and _now_ms() < now_ms + _PATIENCE_S * 1_000:
            number += 1
            _say(out, "hello", f"greets-{number}", _now_ms())
            for message in reader.consume(100, timeout=_EVERY_S):
                if message.error() is None and first_ms is None:
                    made = _decision(message.value() or b"{}")
                    if made["campaign_id"] == "hello":
                        first_ms = message.timestamp()[1]
        published.result()
    out.flush(10)
    reader.close()
    applied = kafka.newest_of(settings, topics.CONTROL, key)
    assert applied is not None
    return None if first_ms is None else first_ms - applied.timestamp()[1]


def _arrived_at_today(settings: Settings, out: Producer, reader: Consumer) -> bool:
    """Let each shard's clock come from the recorded day to now, where all of its windows close.

    So long as that takes, later moments wait behind it.
    """
    deadline_s = time.monotonic() + _ARRIVAL_S
    arrived: set[str] = set()
    number = 0
    while len(arrived) < settings.shards and time.monotonic() < deadline_s:
        for _ in range(2 * settings.shards):
            _say(out, "login", f"early-{number}", _now_ms())
            number += 1
        for message in reader.consume(500, timeout=1.0):
            if message.error() is None:
                made = _decision(message.value() or b"{}")
                if made["campaign_id"] == _LAST:
                    arrived.add(shard_of(made["user_id"], settings.shards))
    return len(arrived) == settings.shards


def _say(out: Producer, action: str, user: str, ts: int) -> None:
    event = {"event_id": user, "user_id": user, "action": action, "ts": ts, "consent": _ALLOWED}
    out.produce(topics.EVENTS, encode(event), user)
    out.poll(0)


def _campaign(name: str, trigger: object, now_ms: int) -> Campaign:
    return Campaign(
        id=name,
        version=1,
        name=name,
        trigger=trigger,  # type: ignore[arg-type]
        channels=("push",),
        cooldown_ms=0,
        updated_ms=now_ms,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
