"""What is already published when a task starts again.

The state resumes from the last checkpoint, the topics do not. What was decided in between is
decided again, and must come out with the same content under the same id; money that was lent or
taken back in between stays so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from schemas.budget import Lease
from schemas.decision import Decision
from schemas.errors import InvalidRecord
from schemas.topics import CONTROL, DECISIONS
from schemas.wire import decode_control
from state.loans import merged

_PATIENCE_S: Final = 20.0
_LEASE: Final = "lease/"
_decode: Final = msgspec.json.Decoder(Decision).decode


class Sealing(NamedTuple):
    """Where and how far back to look.

    Attributes:
        bootstrap: Kafka's address as the workers see it.
        window_ms: how far before the newest decision; covers the time since the last checkpoint.
        at_start: whether the first attempt must look too, because the state it resumes from was
            not saved by a clean stop.
    """

    bootstrap: str
    window_ms: int
    at_start: bool


def published_decisions(sealing: Sealing) -> list[Decision]:
    """The decisions of the newest ``window_ms`` of the topic."""
    newest = _newest(sealing.bootstrap)
    if not newest:
        return []
    since_ms = max(newest.values()) - sealing.window_ms
    consumer = _consumer(sealing)
    try:
        starts = consumer.offsets_for_times(
            [TopicPartition(DECISIONS, partition, since_ms) for partition in newest],
            timeout=_PATIENCE_S,
        )
        records = _read_to_end(consumer, [place for place in starts if place.offset >= 0])
        return [_decode(value) for _key, value in records]
    finally:
        consumer.close()


def published_leases(sealing: Sealing) -> dict[str, Lease]:
    """The loans of every campaign's budget on the control topic."""
    consumer = _consumer(sealing)
    try:
        return leases_in(_read_to_end(consumer, [TopicPartition(CONTROL, 0, OFFSET_BEGINNING)]))
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


def _consumer(sealing: Sealing) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": sealing.bootstrap,
            "group.id": "beckon-sealing",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.queue.backoff.ms": 1,
        }
    )


def _newest(bootstrap: str) -> dict[int, int]:
    """Partition → the time of its newest decision, of partitions that hold one."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topic = admin.list_topics(DECISIONS, timeout=_PATIENCE_S).topics[DECISIONS]
    if topic.error is not None:
        raise KafkaException(topic.error)
    asked = admin.list_offsets(
        {
            TopicPartition(DECISIONS, number): OffsetSpec.max_timestamp()
            for number in topic.partitions
        }
    )
    found = {place.partition: future.result(_PATIENCE_S) for place, future in asked.items()}
    return {number: info.timestamp for number, info in found.items() if info.timestamp >= 0}


def _read_to_end(consumer: Consumer, starts: list[TopicPartition]) -> list[tuple[str, bytes]]:
    """Key and value of every record from there on; of one topic."""
    records = []
    waiting = {place.partition for place in starts}
    consumer.assign(starts)
    while waiting:
        messages = consumer.consume(5_000, timeout=_PATIENCE_S)
        if not messages:
            raise TimeoutError(f"no answer from {starts[0].topic} for {_PATIENCE_S:.0f} s")
        for message in messages:
            error = message.error()
            if error is None:
                records.append(((message.key() or b"").decode(), message.value() or b""))
            elif error.code() == KafkaError._PARTITION_EOF:
                waiting.discard(message.partition())
            else:
                raise KafkaException(error)
    return records
