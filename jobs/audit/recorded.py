"""What was recorded of a span of time: steps of shards, inputs, decisions, the control log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

import msgspec

from jobs import kafka
from jobs.archive.read import days, read_day
from jobs.archive.tables import CONTROL
from jobs.settings import Settings
from operators.shard import DeciderConfig, stream_config
from schemas import topics
from schemas.audit import AuditRecord, Outcomes
from schemas.decision import Decision

_decision = msgspec.json.Decoder(Decision).decode
_audit = msgspec.json.Decoder(AuditRecord).decode


class Input(NamedTuple):
    """An event or an outcome as Kafka has it."""

    came_ms: int
    topic: str
    partition: int
    offset: int
    user_id: str
    payload: bytes


class Entry(NamedTuple):
    """A control record as it came; no value withdraws its key."""

    offset: int
    came_ms: int
    key: str
    value: bytes | None


class Step(NamedTuple):
    """A step of a shard, and when Kafka took in what the stream told of it."""

    came_ms: int
    told: Outcomes


class Made(NamedTuple):
    """A decision as it was published."""

    came_ms: int
    decision: Decision


class Head(msgspec.Struct):
    """What must be known of an input to put it in its place."""

    user_id: str


_head = msgspec.json.Decoder(Head).decode


def head_of(payload: bytes) -> Head | None:
    """Whose an input is; None for one that the stream made a dead letter of."""
    try:
        return _head(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def config(settings: Settings) -> DeciderConfig:
    """The bounds of the stream of these settings."""
    return stream_config(settings.shards, kafka.partitions(settings, topics.EVENTS))


def inputs(settings: Settings) -> Iterator[Input]:
    """Events and outcomes that Kafka still has; ``user_id`` is empty where none can be read."""
    for message in kafka.read_to_end(settings, topics.INPUTS):
        payload = message.value() or b""
        head = head_of(payload)
        topic, partition = kafka.place_of(message)
        yield Input(
            message.timestamp()[1],
            topic,
            partition,
            cast(int, message.offset()),
            "" if head is None else head.user_id,
            payload,
        )


def made(settings: Settings) -> Iterator[Made]:
    """Decisions that Kafka still has."""
    for message in kafka.read_to_end(settings, [topics.DECISIONS]):
        yield Made(message.timestamp()[1], _decision(message.value() or b""))


def steps(settings: Settings) -> Iterator[Step]:
    """The steps that were taken, each shard's in their order."""
    for message in kafka.read_to_end(settings, [topics.AUDIT]):
        told = _audit(message.value() or b"")
        if isinstance(told, Outcomes):
            yield Step(message.timestamp()[1], told)


def between(
    settings: Settings, topic: str, from_ms: int, to_ms: int | None = None
) -> Iterator[bytes]:
    """The values that Kafka took into a topic from a moment on, until before another."""
    since = kafka.offsets_at(settings, [topic], from_ms) if from_ms else None
    for message in kafka.read_to_end(settings, [topic], since):
        value = message.value()
        if value is not None and (to_ms is None or message.timestamp()[1] < to_ms):
            yield value


def newest(entries: Iterable[Entry]) -> dict[str, bytes]:
    """What a part of the control log leaves in force, by key."""
    found: dict[str, bytes] = {}
    for entry in entries:
        found.pop(entry.key, None)
        if entry.value is not None:
            found[entry.key] = entry.value
    return found


def control_log(settings: Settings) -> list[Entry]:
    """The control log: the archive's, and of the topic what it still has; by offset."""
    found: dict[int, Entry] = {}
    root = settings.archive
    for day in days(root, CONTROL):
        rows = read_day(root, CONTROL, day, ["topic_offset", "ingested_ms", "key", "value"])
        for offset, came_ms, key, value in zip(
            *(rows[name].to_pylist() for name in ("topic_offset", "ingested_ms", "key", "value")),
            strict=True,
        ):
            found[offset] = Entry(offset, came_ms, key, value)
    for message in kafka.read_to_end(settings, [topics.CONTROL]):
        key = (message.key() or b"").decode("utf-8", "replace")
        offset = cast(int, message.offset())
        found[offset] = Entry(offset, message.timestamp()[1], key, message.value())
    return [found[offset] for offset in sorted(found)]
