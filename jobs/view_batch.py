"""What a batch of Kafka's records says to a view of `state.stores`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, cast

import msgspec
from confluent_kafka import Message

from operators.names import CHALLENGER
from schemas.audit import AuditRecord, Shadow
from schemas.control import ChannelMix, Posterior, control_key
from schemas.errors import InvalidRecord
from schemas.profile import Profile
from schemas.topics import AUDIT, CONTROL, DECISIONS, PROFILES
from schemas.wire import decode_control
from state.stores.base import Batch, View, new_facts, read_decision, read_profile, update_of
from state.stores.learned import age

_LEARNED: Final = ("posterior/", "mix/")
_SHADOW_KEY: Final = CHALLENGER.encode()
_audit: Final = msgspec.json.Decoder(AuditRecord).decode


class Poison(NamedTuple):
    """A record that cannot be understood."""

    topic: str
    partition: int
    offset: int
    reason: str


def topics(view: View) -> list[str]:
    """What a view is made from."""
    found = [PROFILES]
    if view.KEEPS_HISTORY:
        found.append(DECISIONS)
    if view.SHOWS_LEARNED:
        found += [CONTROL, AUDIT]
    return found


def read_batch(messages: Iterable[Message], view: View) -> tuple[Batch, list[Poison]]:
    """The records as a view takes them, and those that nobody can take."""
    batch = Batch()
    poison: list[Poison] = []
    newest: dict[str, tuple[Profile, Message]] = {}
    for message in messages:
        with _sparing(message, poison):
            value = message.value()
            topic = message.topic()
            if topic == DECISIONS:
                batch.decisions.append(read_decision(value or b""))
            elif topic == CONTROL:
                _take_lesson(batch, message)
            elif topic == AUDIT:
                _take_shadow(batch, message)
            elif value is None:
                user = _key(message)
                newest.pop(user, None)
                batch.facts.pop(user, None)
                batch.erased.add(user)
            else:
                record = read_profile(value)
                if view.KEEPS_HISTORY:
                    batch.facts.setdefault(record.user_id, []).extend(new_facts(record))
                held = newest.get(record.user_id)
                if held is None or _version(held[0]) <= _version(record):
                    newest[record.user_id] = record, message
    for user, (record, message) in newest.items():
        with _sparing(message, poison):
            batch.updates[user] = update_of(record, unfolded=view.UNFOLDS)
    return batch, poison


@contextmanager
def _sparing(message: Message, poison: list[Poison]) -> Iterator[None]:
    """Note a record that cannot be understood, and go on with the others."""
    try:
        yield
    except InvalidRecord as error:
        poison.append(Poison(*coordinates(message), error.reason))


def _take_lesson(batch: Batch, message: Message) -> None:
    """A posterior or a mix; whatever else steers the stream is no part of a view."""
    key, value = _key(message), message.value()
    if not key.startswith(_LEARNED):
        return
    if value is None:
        batch.lessons.pop(key, None)
        batch.withdrawn.add(key)
        return
    record = decode_control(value)
    if not isinstance(record, Posterior | ChannelMix) or control_key(record) != key:
        raise InvalidRecord("wrong_type", f"the record of {key} is another's")
    held = batch.lessons.get(key)
    if held is None or age(held) <= age(record):
        batch.lessons[key] = record


def _take_shadow(batch: Batch, message: Message) -> None:
    """What is told of the challenger; the ends of inputs are no part of a view."""
    if message.key() != _SHADOW_KEY:
        return
    try:
        record = _audit(message.value() or b"")
    except msgspec.DecodeError as error:
        raise InvalidRecord("wrong_type", str(error)) from error
    if isinstance(record, Shadow) and (batch.shadow is None or batch.shadow.ts <= record.ts):
        batch.shadow = record


def _key(message: Message) -> str:
    try:
        return (message.key() or b"").decode()
    except UnicodeDecodeError as error:
        raise InvalidRecord("wrong_type", "the key is not UTF-8") from error


def _version(record: Profile) -> tuple[int, int]:
    return record.event_ms, record.revision


def coordinates(message: Message) -> tuple[str, int, int]:
    """Topic, partition and offset of a record."""
    return cast("tuple[str, int, int]", (message.topic(), message.partition(), message.offset()))
