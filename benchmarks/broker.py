"""The topics of a run: made anew for each contender, filled, read back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import msgspec
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.workload import Message
from jobs.kafka import consumer, producer, read_to_end
from jobs.settings import Settings
from schemas.audit import Outcomes
from schemas.topics import AUDIT, CONTROL, DECISIONS, INPUTS, TOPICS

_PATIENCE_S: Final = 20.0
_TRIES: Final = 100
ANY_PARTITION: Final = -1
"""Lets the client choose by the key."""

_OF_A_STEP: Final = b'{"kind":"outcomes"'
_outcomes: Final = msgspec.json.Decoder(Outcomes)


def fresh_topics(settings: Settings, control: Iterable[tuple[str, bytes]]) -> None:
    """Delete every topic, make all again and publish the control records.

    What contenders write is stamped by the broker, so that its clock, not theirs, tells when a
    record was there.
    """
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    names = [topic.name for topic in TOPICS]
    present = admin.list_topics(timeout=_PATIENCE_S).topics
    if old := [name for name in names if name in present]:
        for future in admin.delete_topics(old, operation_timeout=_PATIENCE_S).values():
            future.result(_PATIENCE_S)
    new = [
        NewTopic(
            topic.name,
            num_partitions=1 if topic.single_partition else settings.partitions,
            replication_factor=1,
            config={
                "cleanup.policy": topic.cleanup,
                "message.timestamp.type": "CreateTime" if topic.name in INPUTS else "LogAppendTime",
            },
        )
        for topic in TOPICS
    ]
    for attempt in range(_TRIES):  # deletion goes on for a moment after it was acknowledged
        try:
            for future in admin.create_topics(new).values():
                future.result(_PATIENCE_S)
            break
        except KafkaException:
            if attempt == _TRIES - 1:
                raise
            made = admin.list_topics(timeout=_PATIENCE_S).topics
            new = [topic for topic in new if topic.topic not in made]
            time.sleep(0.1)
    fill(settings, CONTROL, ((key.encode(), value) for key, value in control))


def fill(
    settings: Settings,
    topic: str,
    messages: Iterable[Message],
    closing: Iterable[tuple[int, Message]] = (),
) -> int:
    """Publish messages as fast as it goes, and then some to given partitions; returns how many."""
    client = producer(settings, **{"linger.ms": 20, "batch.size": 262_144})
    count = 0
    placed = chain(((ANY_PARTITION, message) for message in messages), closing)
    for partition, (key, value) in placed:
        while True:
            try:
                client.produce(topic, value, key, partition)
                break
            except BufferError:
                client.poll(0.05)
        count += 1
        if count % 5_000 == 0:
            client.poll(0)
    if left := client.flush(60):
        raise RuntimeError(f"{left} of {count} messages did not reach {topic}")
    return count


def decisions(settings: Settings) -> Iterator[bytes]:
    """The values of the decisions topic."""
    return (message.value() or b"" for message in read_to_end(settings, [DECISIONS]))


@dataclass(frozen=True)
class Progress:
    """What the audit topic says: how many inputs had come to their end, and when."""

    inputs: int
    dead: int
    steps: Sequence[tuple[int, int]]
    """(broker's time in ms, inputs that ended then) of each audit record, in order of time."""

    def span(self, warm_up: int = 0) -> tuple[float, float, int]:
        """Begin and end in seconds since the epoch, and how many inputs ended in between.

        It begins with the record by which ``warm_up`` inputs had ended; without one, with the
        first.
        """
        passed = 0
        for stamp, inputs in self.steps:
            passed += inputs
            if passed >= warm_up:
                counted = self.inputs - passed if warm_up else self.inputs
                return stamp / 1_000, self.steps[-1][0] / 1_000, counted
        raise ValueError(f"only {passed} inputs ended, and {warm_up} are to warm up")


class AuditTrail:
    """Follows the audit topic; each input has one row in it, and the broker stamped when."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = consumer(settings, "beckon-benchmark-watch")
        partitions = self._client.list_topics(AUDIT, timeout=_PATIENCE_S).topics[AUDIT].partitions
        self._told = dict.fromkeys(partitions, 0)

    def told(self) -> int:
        """How far the topic was when it last told of inputs, and not of ticks of the clock alone.

        It reads the end of each partition: cheap enough to ask again and again while others
        measure.
        """
        ends = []
        for number, known in self._told.items():
            place = TopicPartition(AUDIT, number)
            end = self._client.get_watermark_offsets(place, timeout=_PATIENCE_S)[1]
            if end > known:
                ends.append(TopicPartition(AUDIT, number, end - 1))
        self._client.assign(ends)
        left = len(ends)
        while left:
            for message in self._client.consume(left, timeout=_PATIENCE_S):
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                left -= 1
                value = message.value() or b""
                if not value.startswith(_OF_A_STEP) or _outcomes.decode(value).rows:
                    self._told[message.partition()] = message.offset() + 1
        self._client.unassign()
        return sum(self._told.values())

    def read(self) -> Progress:
        """Read the whole topic."""
        inputs = dead = 0
        steps: list[tuple[int, int]] = []
        for message in read_to_end(self._settings, [AUDIT]):
            value = message.value() or b""
            if not value.startswith(_OF_A_STEP):
                continue
            rows = _outcomes.decode(value).rows
            if not rows:
                continue
            inputs += len(rows)
            dead += sum(row[3] == "dead" for row in rows)
            steps.append((message.timestamp()[1], len(rows)))
        return Progress(inputs, dead, sorted(steps))

    def wait_for(self, inputs: int, patience_s: float, alive: Callable[[], None]) -> Progress:
        """Wait until every input has an end; ``alive`` raises when the contender has died.

        Raises:
            TimeoutError: nothing new came for ``patience_s`` although inputs are left.
        """
        seen, since = 0, time.monotonic()
        while True:
            time.sleep(0.25)
            alive()
            told = self.told()
            if told != seen:
                seen, since = told, time.monotonic()
            elif seen and time.monotonic() - since > 1.5:
                progress = self.read()
                if progress.inputs >= inputs:
                    return progress
                if time.monotonic() - since > patience_s:
                    raise TimeoutError(f"{progress.inputs} of {inputs} inputs came to an end")
            elif not seen and time.monotonic() - since > 4 * patience_s:
                raise TimeoutError("no input came to an end")

    def close(self) -> None:
        """Let go of the broker."""
        self._client.close()
