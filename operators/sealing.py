"""What is already published when a task starts again.

The state resumes from the last checkpoint, the topics do not. What was decided in between is
decided again, and must come out with the same content under the same id; money that was lent or
taken back in between stays so. Outcomes that lie unread are read ahead (see `operators.early`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from operators.records import Record
from schemas.budget import Lease
from schemas.decision import Decision
from schemas.errors import InvalidRecord
from schemas.topics import CONTROL, DECISIONS, OUTCOMES
from schemas.wire import decode_control
from state.loans import merged

SKEW_MS: Final = 30_000
"""By how much the clocks of workers and brokers may differ."""

_PATIENCE_S: Final = 20.0
_POLL_S: Final = 0.1
_LEASE: Final = "lease/"
_decode: Final = msgspec.json.Decoder(Decision).decode


class Sealing(NamedTuple):
    """Where and how far back to look.

    Attributes:
        bootstrap: Kafka's address as the workers see it.
        since_ms: before this nothing was published that a shard without state should know.
        resumed: whether the submission resumes from a state, so that the first attempt looks too.
    """

    bootstrap: str
    since_ms: int
    resumed: bool = False


class Published:
    """The decisions published since a moment, read when a shard first asks.

    The shards of a subtask were saved within seconds of each other, so most are served by what was
    read for the first.
    """

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing
        self._from_ms: int | None = None
        self._found: list[Decision] = []

    def __call__(self, saved_ms: int) -> list[Decision]:
        """What may have been published after a shard was saved, and maybe more."""
        wanted_ms = (saved_ms or self._sealing.since_ms) - SKEW_MS
        if self._from_ms is None or wanted_ms < self._from_ms:
            self._from_ms = wanted_ms - SKEW_MS
            self._found = published_decisions(self._sealing.bootstrap, max(0, self._from_ms))
        return self._found


class Unread:
    """The outcomes that came since a moment, read when a shard first asks.

    Of a shard without state it is the first attempt's business to read them in their order.
    """

    def __init__(self, sealing: Sealing, *, first: bool) -> None:
        self._sealing = sealing
        self._first = first
        self._from_ms: int | None = None
        self._found: list[Record] = []

    def __call__(self, saved_ms: int) -> list[Record] | None:
        """What may lie unread since a shard was saved, and maybe more; oldest first."""
        if self._first and not saved_ms:
            return None
        wanted_ms = (saved_ms or self._sealing.since_ms) - SKEW_MS
        if self._from_ms is None or wanted_ms < self._from_ms:
            self._from_ms = wanted_ms - SKEW_MS
            messages = _since(self._sealing.bootstrap, OUTCOMES, max(0, self._from_ms))
            self._found = sorted(map(_record, messages), key=_came)
        return self._found


def published_decisions(bootstrap: str, since_ms: int) -> list[Decision]:
    """The decisions that the broker has from then on."""
    return [_decode(message.value() or b"") for message in _since(bootstrap, DECISIONS, since_ms)]


def _since(bootstrap: str, name: str, since_ms: int) -> list[Message]:
    """The records of a topic from then on."""
    consumer = _consumer(bootstrap)
    try:
        topic = consumer.list_topics(name, timeout=_PATIENCE_S).topics[name]
        if topic.error is not None:
            raise KafkaException(topic.error)
        starts = consumer.offsets_for_times(
            [TopicPartition(name, partition, since_ms) for partition in topic.partitions],
            timeout=_PATIENCE_S,
        )
        return list(_read_to_end(consumer, [place for place in starts if place.offset >= 0]))
    finally:
        consumer.close()


def _record(message: Message) -> Record:
    payload = (message.value() or b"").decode("latin-1")
    place = message.partition() or 0, message.offset() or 0
    return OUTCOMES, *place, message.timestamp()[1], payload


def _came(record: Record) -> tuple[int, int, int]:
    _, partition, offset, came_ms, _ = record
    return came_ms, partition, offset


def published_leases(sealing: Sealing) -> tuple[dict[str, Lease], int]:
    """The loans of every campaign's budget on the control topic, and its last offset, or -1."""
    consumer = _consumer(sealing.bootstrap)
    try:
        place = TopicPartition(CONTROL, 0, OFFSET_BEGINNING)
        messages = list(_read_to_end(consumer, [place]))
        until = max((message.offset() or 0 for message in messages), default=-1)
        return leases_in(
            ((message.key() or b"").decode(), message.value() or b"") for message in messages
        ), until
    finally:
        consumer.close()


def leases_in(control: Iterable[tuple[str, bytes]]) -> dict[str, Lease]:
    """The loans among control records, by campaign."""
    leases: dict[str, Lease] = {}
    for key, value in control:
        if not key.startswith(_LEASE):
            continue
        try:
            record = decode_control(value)
        except InvalidRecord:
            continue  # `decide` refuses it too, and says so
        if isinstance(record, Lease):
            leases[record.campaign_id] = merged(leases.get(record.campaign_id), record)
    return leases


def _consumer(bootstrap: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "beckon-sealing",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.queue.backoff.ms": 1,
        }
    )


def _read_to_end(consumer: Consumer, starts: list[TopicPartition]) -> Iterator[Message]:
    """Every record from there on; of one topic."""
    waiting = {place.partition for place in starts}
    consumer.assign(starts)
    patient_until = time.monotonic() + _PATIENCE_S
    while waiting:
        # It waits this long for so many messages, so a long wait would hold up each restart.
        messages = consumer.consume(5_000, timeout=_POLL_S)
        if messages:
            patient_until = time.monotonic() + _PATIENCE_S
        elif time.monotonic() > patient_until:
            raise TimeoutError(f"no answer from {starts[0].topic} for {_PATIENCE_S:.0f} s")
        for message in messages:
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                waiting.discard(message.partition())
            else:
                raise KafkaException(error)
