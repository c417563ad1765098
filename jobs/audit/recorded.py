"""What was recorded of a span of time: inputs, decisions, and the control log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import msgspec

from jobs import kafka
from jobs.archive.read import days, read_day
from jobs.archive.tables import CONTROL
from jobs.audit.attempts import Input, Place
from jobs.audit.pins import Entry
from jobs.audit.rerun import Made
from jobs.settings import Settings
from schemas import topics
from schemas.audit import AuditRecord, Outcomes
from schemas.decision import Decision
from schemas.learning import Example

_decision = msgspec.json.Decoder(Decision).decode
_audit = msgspec.json.Decoder(AuditRecord).decode
_example = msgspec.json.Decoder(Example).decode


class Head(msgspec.Struct):
    """What must be known of an input to put it in its place."""

    user_id: str
    event_id: str = ""


_head = msgspec.json.Decoder(Head).decode


def head_of(payload: bytes) -> Head | None:
    """Whose an input is and its id; None for one that the stream made a dead letter of."""
    try:
        return _head(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def inputs(settings: Settings) -> Iterator[Input]:
    """Events and outcomes that Kafka still has; what cannot be read is left out."""
    for message in kafka.read_to_end(settings, topics.INPUTS):
        payload = message.value() or b""
        head = head_of(payload)
        if head is None:
            continue
        topic, partition = kafka.place_of(message)
        yield Input(
            message.timestamp()[1],
            topic,
            partition,
            cast(int, message.offset()),
            head.user_id,
            head.event_id if topic == topics.EVENTS else "",
            payload,
        )


def made(settings: Settings) -> Iterable[Made]:
    """Decisions that Kafka still has, with the channels that were open where examples tell."""
    channels: dict[str, tuple[str, ...]] = {}
    decisions: list[tuple[int, Decision]] = []
    for message in kafka.read_to_end(settings, [topics.DECISIONS, topics.EXAMPLES]):
        value = message.value() or b""
        if message.topic() == topics.EXAMPLES:
            example = _example(value)
            channels[example.decision_id] = example.channels
        else:
            decisions.append((message.timestamp()[1], _decision(value)))
    return [Made(at_ms, each, channels.get(each.decision_id, ())) for at_ms, each in decisions]


def batches(settings: Settings) -> Iterator[list[Place]]:
    """The micro-batches that were taken, each shard's in their order."""
    for value in between(settings, topics.AUDIT, 0):
        audit = _audit(value)
        if isinstance(audit, Outcomes):
            yield [(audit.topics[row[0]], row[1], row[2]) for row in audit.rows]


def between(
    settings: Settings, topic: str, from_ms: int, to_ms: int | None = None
) -> Iterator[bytes]:
    """The values that Kafka took into a topic from a moment on, until before another."""
    since = kafka.offsets_at(settings, [topic], from_ms) if from_ms else None
    for message in kafka.read_to_end(settings, [topic], since):
        value = message.value()
        if value is not None and (to_ms is None or message.timestamp()[1] < to_ms):
            yield value


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
            found[offset] = Entry(came_ms, key, value)
    for message in kafka.read_to_end(settings, [topics.CONTROL]):
        key = (message.key() or b"").decode("utf-8", "replace")
        found[cast(int, message.offset())] = Entry(message.timestamp()[1], key, message.value())
    return [found[offset] for offset in sorted(found)]
