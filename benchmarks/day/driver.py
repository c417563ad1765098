"""Drives the day through real servers: parts, kills, a rescale, senders that answer in between."""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from benchmarks.day import events
from benchmarks.day.rules import POLICY
from benchmarks.live import Live
from benchmarks.workload import Message
from jobs import kafka
from jobs.run import start_stream, stop_stream
from jobs.settings import Settings
from jobs.stack.local import LocalStack
from schemas import topics
from schemas.audit import AuditRecord, Outcomes
from schemas.wire import encode

KILLED_IN: Final = (0, 1, 3)
"""The parts of the day in which the TaskManager is killed."""
RESCALED_IN: Final = 2
WORKERS: Final = 2
PATIENCE_S: Final = 300.0

_audit: Final = msgspec.json.Decoder(AuditRecord).decode


class Ends:
    """Which inputs have come to an end, followed as it happens."""

    def __init__(self, settings: Settings) -> None:
        self._reader = kafka.consumer(settings, "beckon-day")
        self._reader.subscribe([topics.AUDIT])
        self._ended: defaultdict[tuple[str, int], bytearray] = defaultdict(bytearray)
        self._count = 0
        self.reasons: Counter[str] = Counter()

    def count(self) -> int:
        """Inputs with an end by now."""
        while messages := self._reader.consume(2_000, timeout=0.05):
            for message in messages:
                record = _audit(message.value() or b"{}") if message.error() is None else None
                if isinstance(record, Outcomes):
                    self._enter(record)
        return self._count

    def _enter(self, record: Outcomes) -> None:
        for topic, partition, offset, end, reason in record.rows:
            seen = self._ended[record.topics[topic], partition]
            if offset >= len(seen):
                seen.extend(bytes(offset + 1 - len(seen) + 4_096))
            if not seen[offset]:
                seen[offset] = 1
                self._count += 1
                self.reasons[end] += 1
                self.reasons.update(reason.split(",") if reason else ())

    def close(self) -> None:
        """Leave the broker alone."""
        self._reader.close()


class Day:
    """One day, driven part by part."""

    def __init__(
        self,
        settings: Settings,
        stack: LocalStack,
        wanted: int,
        seed: int,
        killed_in: tuple[int, ...] = KILLED_IN,
    ) -> None:
        self.settings = settings
        self.stream = Live(settings, stack)
        self.marks: list[dict[kafka.Place, int]] = []
        """Where each part and each round of answers ends in the inputs."""
        self.sent = 0
        self.answers: Counter[str] = Counter()
        self._wanted = wanted
        self._killed_in = killed_in
        self._seed = seed
        self._draw = random.Random(seed)
        self._ends = Ends(settings)
        self._answered: set[str] = set()
        self._out = kafka.producer(settings)

    def run(self) -> Counter[str]:
        """Send the day; returns how often each end and reason came."""
        for number, part in enumerate(events.parts(self._seed, self._wanted)):
            begin_ms = part.ends_ms - events.SPAN_MS // events.PARTS
            if number:
                self._beat(begin_ms, f"begin-{number}")
                self._wait(self.sent)
            before = self.sent
            self._send(topics.EVENTS, part.messages)
            self._beat(part.ends_ms, f"end-{number}")
            moment = before + round(self._draw.uniform(0.2, 0.6) * (self.sent - before))
            if number in self._killed_in:
                self._wait(moment)
                self.stream.kill_task_manager()
                tell(f"killed the TaskManager after {self._ends.count():,} inputs")
            if number == RESCALED_IN:
                self._wait(moment)
                self._rescale()
            self._wait(self.sent)
            self._mark()
            if number < events.PARTS - 1:
                self._answer(part.ends_ms)
                self._wait(self.sent)
                self._mark()
            tell(f"part {number + 1} of {events.PARTS} is over: {self.sent:,} inputs")
        self._ends.close()
        return self._ends.reasons

    def _rescale(self) -> None:
        """From one TaskManager to two, by a savepoint, while a backlog waits."""
        savepoint = stop_stream(self.settings)
        self.settings = self.settings.model_copy(update={"task_managers": WORKERS})
        self.stream = Live(self.settings, LocalStack(self.settings))
        self.stream.stack.up(["flink"])
        start_stream(self.settings)
        tell(f"goes on with {WORKERS} TaskManagers from {savepoint}")

    def _answer(self, ends_ms: int) -> None:
        """What the senders and the customers answer: one send in twenty bounces, some leave.

        It is dated to where the shards' clocks stand, so all that was decided lies before it, and
        all that will be lies after.
        """
        at_ms = ends_ms - POLICY.lateness_ms + 1
        answers: list[Message] = []
        for value in self.stream.values(topics.DECISIONS):
            made = json.loads(value)
            name, user = made["decision_id"], made["user_id"]
            if name in self._answered:
                continue
            self._answered.add(name)
            luck = int(name[-4:], 16)
            if made["status"] == "send" and luck % 20 == 0:
                bounced = {"decision_id": name, "channel": made["channel"]}
                answers.append(self._outcome(f"b-{name}", user, "bounced", at_ms, **bounced))
            elif luck % 50 == 1:
                channel = {"channel": made["channel"]}
                answers.append(self._outcome(f"u-{name}", user, "unsubscribed", at_ms, **channel))
            elif luck % 100 == 2:
                answers.append(self._outcome(f"c-{name}", user, "complained", at_ms))
        self._send(topics.OUTCOMES, answers)

    def _outcome(self, name: str, user: str, kind: str, at_ms: int, **more: str) -> Message:
        self.answers[kind] += 1
        outcome: dict[str, Any] = {"outcome_id": name, "user_id": user, "kind": kind, "ts": at_ms}
        return user.encode(), encode({**outcome, **more})

    def _send(self, topic: str, messages: Sequence[Message]) -> None:
        for key, value in messages:
            while True:
                try:
                    self._out.produce(topic, value, key)
                    break
                except BufferError:
                    self._out.poll(0.1)
            self._out.poll(0)
        self._flush(len(messages))

    def _beat(self, at_ms: int, name: str) -> None:
        beats = events.beats(at_ms, name, self.settings.partitions)
        for partition, (key, value) in beats:
            self._out.produce(topics.EVENTS, value, key, partition)
        self._flush(len(beats))

    def _flush(self, count: int) -> None:
        if self._out.flush(60):
            raise SystemExit("the broker did not take the events")
        self.sent += count

    def _mark(self) -> None:
        found = kafka.watermarks(self.settings, topics.INPUTS)
        self.marks.append({place: high for place, (_, high) in found.items()})

    def _wait(self, wanted: int) -> None:
        """Until so many inputs have an end."""
        deadline_s = time.monotonic() + PATIENCE_S
        told_s = time.monotonic()
        while (count := self._ends.count()) < wanted:
            now_s = time.monotonic()
            if now_s > deadline_s:
                raise SystemExit(f"only {count:,} of {wanted:,} inputs have an end")
            if now_s > told_s + 10:
                told_s = now_s
                tell(f"{count:,} inputs have an end")


def tell(text: str) -> None:
    """Progress, on the standard error."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)
