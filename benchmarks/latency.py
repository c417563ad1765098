"""Latency at a rate, in open loop: from the intended send of an event to its decision read back."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

from benchmarks.broker import AuditTrail, fill, fresh_topics
from benchmarks.contenders.base import Contender
from benchmarks.openloop import Schedule, Sent, Shape, generate
from benchmarks.oracle import Decisions, Oracle
from benchmarks.probe import Answers, Reading, judge, read_back
from benchmarks.workload import Workload
from jobs.settings import Settings
from schemas.topics import EVENTS

PAUSE_MS: Final = 500
"""The self-test stops the contender for so long; p99 must show it."""

_EVENT_MS_PER_MS: Final = 30
"""Event time passes so much faster than the wall clock, so that sessions fit into a run."""
_SETTLE_S: Final = 2.0
_SETTLE_AT_MOST_S: Final = 30.0
_READY_S: Final = 120.0


@dataclass(frozen=True)
class Load:
    """What to send: ``seconds`` at ``rate``, of which the first are warm-up and not counted."""

    rate: int
    seconds: int
    warm_up_s: int
    shape: Shape = "constant"
    pause: bool = False
    """Stop the contender for `PAUSE_MS` in the middle: the self-test."""

    @property
    def events(self) -> int:
        """How many events that is."""
        return self.rate * self.seconds


@dataclass(frozen=True)
class Measured:
    """One run at one rate."""

    contender: str
    load: Load
    sent: Sent
    answers: Answers
    void: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Leg:
    """One load of a session with its events and the decisions that they must lead to."""

    load: Load
    workload: Workload
    expected: Decisions


@dataclass(frozen=True)
class Plan:
    """A session: known customers, then one leg after another over the same state."""

    first: Workload
    legs: Sequence[Leg]
    control: Sequence[tuple[str, bytes]]

    @classmethod
    def make(
        cls,
        loads: Sequence[Load],
        customers: int,
        control: Sequence[tuple[str, bytes]],
        end_ms: int,
        seed: int,
    ) -> Plan:
        """Lay the legs end to end in event time, up to ``end_ms``, and ask the oracle."""
        spans = [load.seconds * 1_000 * _EVENT_MS_PER_MS for load in loads]
        start_ms = end_ms - sum(spans)
        workloads = []
        for number, (load, span) in enumerate(zip(loads, spans, strict=True)):
            workloads.append(
                Workload(seed + number, load.events, customers, start_ms, span, known=True)
            )
            start_ms += span
        messages = [workload.messages() for workload in workloads]
        oracle = Oracle(control)
        oracle.introduce(workloads[0], (key for batch in messages for key, _ in batch))
        legs = [
            Leg(load, workload, oracle.decide(workload, batch))
            for load, workload, batch in zip(loads, workloads, messages, strict=True)
        ]
        return cls(workloads[0], legs, control)


class Session:
    """A contender that knows its customers, ready to be loaded."""

    def __init__(self, settings: Settings, contender: Contender, plan: Plan) -> None:
        self._settings = settings
        self._contender = contender
        self._plan = plan
        self._allowed: set[str] = set()

    def __enter__(self) -> Session:
        fresh_topics(self._settings, self._plan.control)
        known = fill(self._settings, EVENTS, self._plan.first.introductions())
        trail = AuditTrail(self._settings)
        try:
            self._contender.start()
            trail.wait_for(known, 30.0, self._contender.check)
        except BaseException:
            self._contender.stop()
            raise
        finally:
            trail.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._contender.stop()

    def measure(self, leg: Leg) -> Measured:
        """Send a leg's events by the clock and judge the answers."""
        self._contender.check()
        schedule = Schedule(leg.load.rate, leg.load.events, leg.load.shape)
        with (
            _Helper(generate, self._settings, EVENTS, leg.workload, schedule) as generator,
            _Helper(read_back, self._settings) as probe,
        ):
            generator.receive(_READY_S)
            probe.receive(_READY_S)
            start_ns = time.monotonic_ns() + 500_000_000
            generator.send(start_ns)
            if leg.load.pause:
                middle_s = (leg.load.warm_up_s + leg.load.seconds) / 2
                threading.Timer(middle_s, self._pause).start()
            sent: Sent = generator.receive(leg.load.seconds + _READY_S)
            self._settle()
            probe.send("stop")
            readings: list[Reading] = probe.receive(_READY_S)
        self._contender.check()
        self._allowed |= leg.expected.records.keys() - leg.expected.by_event.keys()
        self._allowed |= leg.expected.beyond
        answers = judge(
            readings,
            leg.expected.by_event,
            self._allowed,
            schedule.offsets_ns().tolist(),
            start_ns,
            leg.load.warm_up_s * 1_000_000_000,
        )
        void = sent.void_reasons()
        if answers.unexpected:
            void.append(f"{answers.unexpected} decisions that must not be")
        if answers.latencies.missing:
            void.append(f"{answers.latencies.missing} decisions did not come")
        return Measured(self._contender.name, leg.load, sent, answers, void)

    def _settle(self) -> None:
        """Wait until nothing more comes: what is late is late, not missing."""
        trail = AuditTrail(self._settings)
        seen, since = trail.told(), time.monotonic()
        deadline = since + _SETTLE_AT_MOST_S
        while time.monotonic() - since < _SETTLE_S and time.monotonic() < deadline:
            time.sleep(0.2)
            told = trail.told()
            if told != seen:
                seen, since = told, time.monotonic()
        trail.close()

    def _pause(self) -> None:
        pids = self._contender.worker_pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(PAUSE_MS / 1_000)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


class _Helper:
    """A process of ours with a pipe to it."""

    def __init__(self, body: Any, *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._channel: Connection = self._ours
        self._process: BaseProcess = context.Process(target=body, args=(*arguments, theirs))
        self._process.start()
        theirs.close()

    def __enter__(self) -> _Helper:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def send(self, what: object) -> None:
        """Tell it something."""
        self._channel.send(what)

    def receive(self, patience_s: float) -> Any:
        """What it says next.

        Raises:
            RuntimeError: it has ended or says nothing.
        """
        try:
            if self._channel.poll(patience_s):
                return self._channel.recv()
        except EOFError:
            pass
        raise RuntimeError(f"{self._process} gave no answer; its traceback, if any, is above")
