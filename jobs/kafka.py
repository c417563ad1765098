"""Kafka as our own processes use it: topics, clients, reading a topic from end to end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from jobs.settings import Settings
from operators.control_log import Snapshot
from schemas.errors import UserMistake
from schemas.topics import CONTROL, TOPICS

Place = tuple[str, int]
"""Topic and partition."""

_PATIENCE_S: Final = 10.0
_FIRST_SPAN: Final = 5_000
_QUIET: Final[dict[str, Any]] = {"log_level": 2}
"""For clients whose failures we raise: librdkafka would print each of them as well."""
_LEADERLESS: Final = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


def producer(settings: Settings, **overrides: Any) -> Producer:
    """A producer that loses nothing: idempotent, acknowledged by all replicas, low linger."""
    return Producer(
        {
            "bootstrap.servers": settings.bootstrap,
            "enable.idempotence": True,
            "linger.ms": 1,
            "log_level": 3,  # a coordinator that still loads is no news
            "queue.buffering.max.messages": 1_000_000,
            **overrides,
        }
    )


def consumer(settings: Settings, group: str, **overrides: Any) -> Consumer:
    """A consumer that commits when told, and asks for more at once when its queue runs low."""
    return Consumer(
        {
            "bootstrap.servers": settings.bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 1,
            "fetch.wait.max.ms": 10,
            "log_level": 3,
            **overrides,
        }
    )


def ensure_topics(settings: Settings) -> list[str]:
    """Create those of `schemas.topics.TOPICS` that are missing; returns their names."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap, **_QUIET})
    present = _metadata(admin, settings).topics
    missing = [topic for topic in TOPICS if topic.name not in present]
    if not missing:
        return []
    futures = admin.create_topics(
        [
            NewTopic(
                topic.name,
                num_partitions=1 if topic.single_partition else settings.partitions,
                replication_factor=1,
                config={
                    "cleanup.policy": topic.cleanup,
                    "retention.ms": str(-1 if topic.retention_ms is None else topic.retention_ms),
                },
            )
            for topic in missing
        ]
    )
    for future in futures.values():
        try:
            future.result(timeout=_PATIENCE_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return [topic.name for topic in missing]


def place_of(message: Message) -> Place:
    """Where a record lies."""
    return cast(Place, (message.topic(), message.partition()))


def watermarks(settings: Settings, topics: Sequence[str]) -> dict[Place, tuple[int, int]]:
    """First kept offset and the one after the newest, of each partition of the topics."""
    reader = consumer(settings, "beckon-reader", **_QUIET)
    try:
        return _watermarks(reader, settings, topics)
    finally:
        reader.close()


def partitions(settings: Settings, topic: str) -> int:
    """How many partitions a topic has."""
    return len(watermarks(settings, [topic]))


def read_to_end(
    settings: Settings, topics: Sequence[str], since: Mapping[Place, int] | None = None
) -> Iterator[Message]:
    """Every record of the topics, from the first kept to the newest at the time of the call.

    ``since`` leaves out the partitions that it does not name, and what is older than its offsets.
    """
    reader = consumer(settings, "beckon-reader", **{"enable.partition.eof": True}, **_QUIET)
    try:
        marks = _watermarks(reader, settings, topics)
        starts = {place: low for place, (low, _) in marks.items()} if since is None else since
        yield from _read(reader, {place: (low, marks[place][1]) for place, low in starts.items()})
    finally:
        reader.close()


def newest_of(settings: Settings, topic: str, key: str) -> Message | None:
    """The newest record of a key; its value is None when it was withdrawn.

    The topic is read backwards, a span at a time, because what is asked for tends to be recent.
    """
    wanted = key.encode()
    reader = consumer(settings, "beckon-reader", **{"enable.partition.eof": True}, **_QUIET)
    try:
        marks = _watermarks(reader, settings, [topic])
        upper = {place: high for place, (_, high) in marks.items()}
        span = _FIRST_SPAN
        while any(upper[place] > low for place, (low, _) in marks.items()):
            lower = {place: max(low, upper[place] - span) for place, (low, _) in marks.items()}
            found = None
            for message in _read(reader, {place: (lower[place], upper[place]) for place in marks}):
                if message.key() == wanted:
                    found = message  # a key's records lie in one partition, in order
            if found is not None:
                return found
            upper, span = lower, 4 * span
        return None
    finally:
        reader.close()


def wait_until_readable(settings: Settings, upto: Mapping[Place, int]) -> None:
    """Return when a reader of what is committed finds all offsets before those of ``upto``.

    The broker answers a commit before it has marked the transaction's end in each partition.

    Raises:
        TimeoutError: the marks did not come.
    """
    reader = consumer(settings, "beckon-reader", **_QUIET)
    deadline_s = time.monotonic() + _PATIENCE_S
    try:
        for place, end in upto.items():
            while _marks(reader, TopicPartition(*place))[1] < end:
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"{place[0]}/{place[1]} is not readable up to {end}")
                time.sleep(0.01)
    finally:
        reader.close()


def offsets_at(settings: Settings, topics: Sequence[str], moment_ms: int) -> dict[Place, int]:
    """Of each partition, the first offset that Kafka took in at ``moment_ms`` or later."""
    reader = consumer(settings, "beckon-reader", **_QUIET)
    try:
        marks = _watermarks(reader, settings, topics)
        asked = [TopicPartition(*place, moment_ms) for place in marks]
        found = reader.offsets_for_times(asked, timeout=_PATIENCE_S)
        return {
            (each.topic, each.partition): (
                each.offset if each.offset >= 0 else marks[each.topic, each.partition][1]
            )
            for each in found
        }
    finally:
        reader.close()


def _read(reader: Consumer, spans: Mapping[Place, tuple[int, int]]) -> Iterator[Message]:
    """The records of each span of offsets, its end left out."""
    ends = {place: end for place, (start, end) in spans.items() if start < end}
    reader.assign([TopicPartition(*place, spans[place][0]) for place in ends])
    while ends:
        for message in reader.consume(2_000, timeout=1.0):
            place = place_of(message)
            error = message.error()
            if error is None:
                offset, end = cast(int, message.offset()), ends.get(place, 0)
                if offset < end:
                    yield message
                if offset + 1 >= end:
                    ends.pop(place, None)
            elif error.code() == KafkaError._PARTITION_EOF:
                ends.pop(place, None)  # the last offsets hold a transaction's marker
            else:
                raise KafkaException(error)


def read_from_now(reader: Consumer, topics: Sequence[str]) -> None:
    """Let a consumer read what is written to the topics from now on."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            known = reader.list_topics(timeout=_PATIENCE_S).topics
            places = [
                TopicPartition(topic, partition)
                for topic in topics
                for partition in known[topic].partitions
            ]
            for place in places:
                place.offset = reader.get_watermark_offsets(place, timeout=_PATIENCE_S)[1]
        except KafkaException:  # a topic just created has no leader for a moment
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)
        else:
            reader.assign(places)
            return


def behind(reader: Consumer) -> int:
    """Records still to be read, as far as the consumer knows without asking the broker."""
    left = 0
    for place in reader.position(reader.assignment()):
        _, high = reader.get_watermark_offsets(place, cached=True)
        if place.offset >= 0 and high > place.offset:
            left += high - place.offset
    return left


def control_snapshot(settings: Settings) -> list[tuple[str, bytes]]:
    """The control records in force: the newest of each key, withdrawn ones left out."""
    return list(control_until_now(settings).records)


def control_until_now(settings: Settings) -> Snapshot:
    """The control records in force, and up to which offset they were read."""
    newest: dict[str, bytes] = {}
    until = -1
    for message in read_to_end(settings, [CONTROL]):
        key = (message.key() or b"").decode("utf-8", "replace")
        value = message.value()
        newest.pop(key, None)
        if value is not None:
            newest[key] = value
        until = cast(int, message.offset())
    return Snapshot(tuple(newest.items()), until)


def _watermarks(
    reader: Consumer, settings: Settings, topics: Sequence[str]
) -> dict[Place, tuple[int, int]]:
    known = _metadata(reader, settings).topics
    absent = [topic for topic in topics if topic not in known]
    if absent:
        raise UserMistake(f"no topic {absent[0]!r} on {settings.bootstrap}; run `beckon run`")
    return {
        (topic, partition): _marks(reader, TopicPartition(topic, partition))
        for topic in topics
        for partition in known[topic].partitions
    }


def _marks(reader: Consumer, place: TopicPartition) -> tuple[int, int]:
    """First kept and next offset; a topic just created has no leader for a moment."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return reader.get_watermark_offsets(place, timeout=_PATIENCE_S)
        except KafkaException as error:
            if error.args[0].code() not in _LEADERLESS or time.monotonic() > deadline_s:
                raise
        time.sleep(0.1)


def _metadata(client: AdminClient | Consumer, settings: Settings) -> Any:
    try:
        return client.list_topics(timeout=_PATIENCE_S)
    except KafkaException as error:
        raise UserMistake(
            f"no Kafka broker answers at {settings.bootstrap}: {error.args[0].str()}. "
            "Start one with `beckon stack up`, or set BECKON_KAFKA_BOOTSTRAP."
        ) from error
