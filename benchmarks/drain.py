"""A drained backlog: the topics are full before a contender starts, and it works them off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.broker import AuditTrail, decisions, fill, fresh_topics
from benchmarks.contenders.base import Contender
from benchmarks.machine import CpuMeter
from benchmarks.oracle import Decisions, Oracle, decisions_of, horizon_ms
from benchmarks.threads import ThreadMeter
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
    warm_up: int = 0
    """So many events go before what is measured, in every contender: a JVM compiles meanwhile."""

    @classmethod
    def make(
        cls, workload: Workload, control: Sequence[tuple[str, bytes]], warm_up: int = 0
    ) -> Backlog:
        """Make the events and ask the oracle."""
        messages = workload.messages()
        closing = [message for _, message in workload.closing(1)]
        expected = Oracle(control).decide(workload, [*messages, *closing])
        return cls(workload, messages, expected, control, warm_up)


@dataclass(frozen=True)
class Drained:
    """One contender's run over a backlog, from the warm-up's end to its last output.

    Times are the broker's. ``events`` are those of that span, ``decisions`` all.

    CPU time is of the contender's whole process tree in that span, without the broker's.
    """

    contender: str
    events: int
    decisions: int
    seconds: float
    cpu_us_per_event: float
    digest: str
    void: str | None
    parts: Mapping[str, float] = field(default_factory=dict)
    """CPU µs per event by what its threads do; see `benchmarks.threads`."""

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
        with CpuMeter(contender.pids) as meter, ThreadMeter(contender.pids) as threads:
            contender.start()
            progress = trail.wait_for(events, PATIENCE_S, contender.check)
    finally:
        contender.stop()
        trail.close()
    decided = decisions_of(decisions(settings), horizon_ms(backlog.workload))
    void = backlog.expected.differences(decided)
    if progress.dead:
        void = f"{progress.dead} events were refused"
    first_s, last_s, counted = progress.span(backlog.warm_up)
    parts = threads.between(first_s, last_s)
    return Drained(
        contender.name,
        counted,
        len(decided.records),
        last_s - first_s,
        meter.between(first_s, last_s) / counted * 1e6,
        decided.digest(),
        void,
        {part: used / counted * 1e6 for part, used in parts.items()},
    )
