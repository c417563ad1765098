"""The twentieth action, on real events: `python -m benchmarks.twenty_actions FILE`.

A campaign counts whatever a customer does, of all time, and alerts each once who reaches twenty.
The core, without Flink, takes a replay of a shop's export; a dictionary of counters that knows
nothing of Beckon says who must hear of it, and at which row. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.core import SHARDS
from jobs.mapping import read_mapping
from jobs.replay.publish import Report, replay_files
from operators.shard import SEPARATOR, Decider, DeciderConfig, MemoryStore, shard_of
from schemas.control import Campaign, ControlRecord, Policy, control_key
from schemas.decision import Decision
from schemas.event import BehaviorEvent
from schemas.topics import DECISIONS, EVENTS
from schemas.triggers import CountTrigger
from schemas.wire import encode

MAPPING: Final = Path(__file__).resolve().parents[1] / "infra" / "mappings" / "taobao.yaml"
AT_LEAST: Final = 20
_BATCH: Final = 500

Alert = tuple[str, str]
"""A customer, and the event that was their twentieth."""

_decode: Final = msgspec.json.Decoder(Decision).decode


def campaign(at_least: int = AT_LEAST) -> Campaign:
    """Whoever has done anything ``at_least`` times hears of it once."""
    return Campaign(
        id="twenty-actions",
        version=1,
        name="Twenty actions",
        trigger=CountTrigger(("*",), at_least),
        channels=("push",),
        cooldown_ms=0,
    )


def events(path: Path, limit: int | None = None) -> list[BehaviorEvent]:
    """The events of an export, in its order."""
    found: list[BehaviorEvent] = []

    def keep(event: BehaviorEvent, _: bytes) -> None:
        found.append(event)

    replay_files([path], read_mapping(MAPPING), keep, Report(), limit=limit)
    return found


def decided(stream: Iterable[BehaviorEvent], at_least: int = AT_LEAST) -> list[Alert]:
    """What the core decides: nobody is held out, and no cap stands in the way."""
    rules: list[ControlRecord] = [Policy(holdout_ratio=0.0, caps=()), campaign(at_least)]
    decider = Decider(
        DeciderConfig(200_000), [(control_key(record), encode(record)) for record in rules]
    )
    stores: defaultdict[str, MemoryStore] = defaultdict(MemoryStore)
    alerts: list[Alert] = []
    for shard, records in _batches(stream):
        for output in decider.on_batch(shard, stores[shard], records):
            topic, _, value = output
            if topic == DECISIONS:
                decision = _decode(value)
                alerts.append((decision.user_id, decision.trigger_event_id))
    return sorted(alerts)


def expected(stream: Iterable[BehaviorEvent], at_least: int = AT_LEAST) -> list[Alert]:
    """What a dictionary of counters says."""
    seen: Counter[str] = Counter()
    alerts: list[Alert] = []
    for event in stream:
        seen[event.user_id] += 1
        if seen[event.user_id] == at_least:
            alerts.append((event.user_id, event.event_id))
    return sorted(alerts)


def measure(path: Path, at_least: int = AT_LEAST) -> dict[str, Any]:
    """Both over a whole export: how many alerts, and how many that only one of them has."""
    stream = events(path)
    ours, theirs = decided(stream, at_least), expected(stream, at_least)
    return {
        "events": len(stream),
        "at_least": at_least,
        "alerts": len(ours),
        "expected": len(theirs),
        "missing": len(set(theirs) - set(ours)),
        "surplus": len(ours) - len(set(ours) & set(theirs)),
        "ok": ours == theirs,
    }


def _batches(stream: Iterable[BehaviorEvent]) -> Iterator[tuple[str, list[str]]]:
    """Shard and records, as if Kafka had taken each event in when it happened."""
    waiting: defaultdict[str, list[str]] = defaultdict(list)
    for offset, event in enumerate(stream):
        shard = shard_of(event.user_id, SHARDS)
        head = SEPARATOR.join((EVENTS, "0", str(offset), str(event.ts)))
        waiting[shard].append(f"{head}{SEPARATOR}{encode(event).decode('latin-1')}")
        if len(waiting[shard]) == _BATCH:
            yield shard, waiting.pop(shard)
    yield from waiting.items()


def main() -> int:
    """Compare, and print; 1 when they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="an export such as taobao_110300.csv.gz")
    parser.add_argument("--at-least", type=int, default=AT_LEAST)
    asked = parser.parse_args()
    found = measure(asked.file, asked.at_least)
    print(json.dumps(found))
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
