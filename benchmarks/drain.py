"""A drained backlog: the topics are full before a contender starts, and it works them off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.broker import AuditTrail, decisions, fill, fresh_topics
from benchmarks.contenders.base import Contender
from benchmarks.machine import CpuMeter
from benchmarks.oracle import Decisions, Oracle, decisions_of, horizon_ms
from benchmarks.workload import Message, Workload
from jobs.settings import Settings
from schemas.topics import EVENTS

PATIENCE_S: Final = 30.0


@dataclass(frozen=True)
class Backlog:
    """What is to be worked off, and what must come of it."""

    workload: Workload
    messages: Sequence[Message]
    expected: Decisions
    control: Sequence[tuple[str, bytes]]

    @classmethod
    def make(cls, workload: Workload, control: Sequence[tuple[str, bytes]]) -> Backlog:
        """Make the events and ask the oracle."""
        messages = workload.messages()
        closing = [message for _, message in workload.closing(1)]
        expected = Oracle(control).decide(workload, [*messages, *closing])
        return cls(workload, messages, expected, control)


@dataclass(frozen=True)
class Drained:
    """One contender's run over a backlog, from its first output to its last by the broker's clock.

    CPU time is of the contender's whole process tree in that span, without the broker's.
    """

    contender: str
    events: int
    decisions: int
    seconds: float
    cpu_us_per_event: float
    digest: str
    void: str | None

    @property
    def events_per_s(self) -> float:
        """Throughput."""
        return self.events / self.seconds


def drain(settings: Settings, contender: Contender, backlog: Backlog) -> Drained:
    """Fill fresh topics, let the contender work them off, compare what it decided."""
    fresh_topics(settings, backlog.control)
    closing = backlog.workload.closing(settings.partitions)
    events = fill(settings, EVENTS, backlog.messages, closing)
    trail = AuditTrail(settings)
    try:
        with CpuMeter(contender.pids) as meter:
            contender.start()
            progress = trail.wait_for(events, PATIENCE_S, contender.check)
    finally:
        contender.stop()
        trail.close()
    decided = decisions_of(decisions(settings), horizon_ms(backlog.workload))
    void = backlog.expected.differences(decided)
    if progress.dead:
        void = f"{progress.dead} events were refused"
    seconds = progress.last_s - progress.first_s
    cpu_s = meter.between(progress.first_s, progress.last_s)
    return Drained(
        contender.name,
        events,
        len(decided.records),
        seconds,
        cpu_s / events * 1e6,
        decided.digest(),
        void,
    )
