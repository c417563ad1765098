"""Which decisions must come: the core by itself, over the same events, in memory.

Contenders are compared with it record by record. Two things are left out of the comparison: when
the broker took an event in, and waits that run out in the last minute of the event time, which
`Workload.closing` does not reach.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from benchmarks.core import Harness, batches
from benchmarks.workload import Message, Workload
from schemas.control import Policy
from schemas.decision import Decision
from schemas.topics import DECISIONS
from schemas.wire import encode

_BATCH: Final = 20

_decode: Final = msgspec.json.Decoder(Decision).decode


@dataclass
class Decisions:
    """Decisions by id, each in a form that is equal when the decision is."""

    records: dict[str, bytes] = field(default_factory=dict)
    by_event: dict[str, str] = field(default_factory=dict)
    """Of those that an event triggers at once: the decision's id → the event's."""
    beyond: set[str] = field(default_factory=set)
    """Ids of waits that run out beyond the horizon: they may come or not."""
    conflicting: int = 0
    """Ids that came with two different contents."""

    def add(self, value: bytes, horizon_ms: int) -> None:
        """Take in one record of the decisions topic."""
        decision = _decode(value)
        if decision.trigger == "event":
            self.by_event[decision.decision_id] = decision.trigger_event_id
        elif decision.decided_at_ms > horizon_ms:
            self.beyond.add(decision.decision_id)
            return
        record = encode(msgspec.structs.replace(decision, ingested_ms=0))
        if self.records.setdefault(decision.decision_id, record) != record:
            self.conflicting += 1

    def digest(self) -> str:
        """A hash that is equal for equal sets of decisions, whatever their order."""
        total = hashlib.sha256()
        for _, record in sorted(self.records.items()):
            total.update(record + b"\n")
        return total.hexdigest()

    def differences(self, other: Decisions) -> str | None:
        """In a few words how the ``other`` differs, None when it does not."""
        if self.digest() == other.digest() and not other.conflicting:
            return None
        missing = self.records.keys() - other.records.keys()
        extra = other.records.keys() - self.records.keys()
        both = self.records.keys() & other.records.keys()
        unequal = [name for name in both if self.records[name] != other.records[name]]
        return (
            f"{len(missing)} missing, {len(extra)} that must not be, {len(unequal)} unequal, "
            f"{other.conflicting} with two contents, of {len(self.records)}; "
            f"for example {sorted([*missing, *extra, *unequal])[:2]}"
        )


def horizon_ms(workload: Workload) -> int:
    """Up to which event time every contender's clock gets; the policy shipped is the default's."""
    return workload.start_ms + workload.span_ms - Policy().lateness_ms


def decisions_of(values: Iterable[bytes], horizon: int) -> Decisions:
    """What a contender decided, from the values of the decisions topic."""
    decided = Decisions()
    for value in values:
        decided.add(value, horizon)
    return decided


class Oracle:
    """The core over a sequence of workloads that share their customers."""

    def __init__(self, control: Iterable[tuple[str, bytes]]) -> None:
        self._harness = Harness(control)

    def introduce(self, first: Workload, wanted: Iterable[bytes]) -> None:
        """Let those customers introduce themselves whom a later workload will bring."""
        keys = set(wanted)
        self._take(
            [message for message in first.introductions() if message[0] in keys], first.start_ms, 0
        )

    def decide(self, workload: Workload, messages: Sequence[Message]) -> Decisions:
        """The decisions that these messages must lead to."""
        return self._take(messages, workload.start_ms + workload.span_ms, horizon_ms(workload))

    def _take(self, messages: Sequence[Message], ingested_ms: int, horizon: int) -> Decisions:
        decided = Decisions()
        for output in self._harness.outputs(batches(messages, ingested_ms, _BATCH)):
            if output.topic == DECISIONS:
                decided.add(output.value, horizon)
        return decided
