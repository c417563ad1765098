"""Bytes to contracts and back.

Decoding validates: a record that comes out of `decode_event` or `decode_outcome` holds what the
contract promises. Encoding is deterministic: the same value gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any, Final, NoReturn, TypeVar, get_args

import msgspec

from schemas.control import ControlRecord
from schemas.deadletter import DeadLetter
from schemas.errors import InvalidRecord
from schemas.event import ACTIONS, MAX_EVENT_BYTES, SCHEMA_VERSION, BehaviorEvent
from schemas.outcome import NEED_DECISION, NEED_ORDER, Outcome, OutcomeKind
from schemas.topics import OUTCOMES

T = TypeVar("T")

YEAR_2000_MS: Final = 946_684_800_000
_KEPT_PAYLOAD_BYTES: Final = 4_096
_ACTION: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_OUTCOME_KINDS: Final = frozenset(get_args(OutcomeKind))
_PLAIN_ACTIONS: Final = frozenset(ACTIONS) - _OUTCOME_KINDS
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that it cannot read; the last for brackets a thousand deep."""

encode: Final = msgspec.json.Encoder().encode
"""Any contract to JSON bytes."""

_event: Final = msgspec.json.Decoder(BehaviorEvent)
_outcome: Final = msgspec.json.Decoder(Outcome)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_control: Final[msgspec.json.Decoder[ControlRecord]] = msgspec.json.Decoder(ControlRecord)


class _Version(msgspec.Struct):
    schema_version: Any = SCHEMA_VERSION


_version: Final = msgspec.json.Decoder(_Version)


def decode_event(raw: bytes) -> BehaviorEvent:
    """Read a behaviour event.

    Raises:
        InvalidRecord: oversized, broken_json, unknown_version or wrong_type.
    """
    event = _decode(_event, raw)
    _check_ids(event.event_id, event.user_id)
    action = event.action
    if action in _PLAIN_ACTIONS:
        return event
    if action not in ACTIONS and not _ACTION.fullmatch(action):
        raise InvalidRecord(
            "wrong_type", f"action {action!r}: want a lower-case word such as 'add_to_list'"
        )
    if action in _OUTCOME_KINDS:
        raise InvalidRecord("wrong_type", f"action {action!r} is an outcome: send it to {OUTCOMES}")
    return event


def decode_outcome(raw: bytes) -> Outcome:
    """Read an outcome; raises as `decode_event` does."""
    outcome = _decode(_outcome, raw)
    _check_ids(outcome.outcome_id, outcome.user_id)
    if outcome.decision_id is None and outcome.kind in NEED_DECISION:
        raise InvalidRecord(
            "wrong_type", f"an outcome of kind {outcome.kind!r} must name its decision_id"
        )
    if outcome.order_id is None and outcome.kind in NEED_ORDER:
        raise InvalidRecord(
            "wrong_type", f"an outcome of kind {outcome.kind!r} must name its order_id"
        )
    return outcome


def decode_control(raw: bytes) -> ControlRecord:
    """Read a control record; raises as `decode_event` does, with no bound on its size."""
    _check_utf8(raw)
    try:
        record = _control.decode(raw)
    except _UNREADABLE as error:
        _explain(raw, error)
    if record.schema_version != SCHEMA_VERSION:
        _unknown_version(record.schema_version)
    return record


def _decode(decoder: msgspec.json.Decoder[T], raw: bytes) -> T:
    if len(raw) > MAX_EVENT_BYTES:
        raise InvalidRecord("oversized", f"{len(raw)} bytes; at most {MAX_EVENT_BYTES} are read")
    if not raw.isascii():
        _check_utf8(raw)
    try:
        record = decoder.decode(raw)
    except _UNREADABLE as error:
        _explain(raw, error)
    if record.schema_version != SCHEMA_VERSION:  # type: ignore[attr-defined]
        _unknown_version(record.schema_version)  # type: ignore[attr-defined]
    return record


def _check_utf8(raw: bytes) -> None:
    """The decoder looks only at what the contract names; we promise it of the whole record."""
    if raw.isascii():
        return
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidRecord(
            "broken_json", f"not UTF-8: {error.reason} at byte {error.start}"
        ) from None


def _check_ids(identifier: str, user_id: str) -> None:
    if not identifier.isprintable() and _CONTROL.search(identifier):
        raise InvalidRecord("wrong_type", f"the id {identifier!r} holds a control character")
    if not (user_id.isascii() and user_id.isprintable()) or " " in user_id:
        raise InvalidRecord(
            "wrong_type", f"user_id {user_id!r}: want printable ASCII without spaces"
        )


def _explain(raw: bytes, error: Exception) -> NoReturn:
    """Name the reason: a foreign version explains a wrong shape better than the shape does."""
    if isinstance(error, UnicodeDecodeError):
        raise InvalidRecord("broken_json", str(error)) from None
    try:
        version = _version.decode(raw).schema_version
    except msgspec.ValidationError:
        version = SCHEMA_VERSION
    except _UNREADABLE as broken:
        raise InvalidRecord("broken_json", str(broken)) from None
    if version != SCHEMA_VERSION:
        _unknown_version(version)
    raise InvalidRecord("wrong_type", str(error)) from None


def _unknown_version(version: object) -> NoReturn:
    raise InvalidRecord(
        "unknown_version", f"schema_version {version!r}; this release reads {SCHEMA_VERSION}"
    )


def instant_ms(ts: int | str) -> int:
    """UTC milliseconds of a contract's ``ts``.

    Raises:
        InvalidRecord: bad_timestamp, when it is no time, has no zone or lies before 2000.
    """
    if type(ts) is int:
        moment = ts
    else:
        try:
            parsed = datetime.fromisoformat(ts)  # type: ignore[arg-type]
        except ValueError:
            raise InvalidRecord("bad_timestamp", f"{ts!r} is not an RFC 3339 date-time") from None
        if parsed.tzinfo is None:
            raise InvalidRecord("bad_timestamp", f"{ts!r} has no zone; add Z or an offset")
        moment = round(parsed.timestamp() * 1_000)
    if moment < YEAR_2000_MS:
        raise InvalidRecord("bad_timestamp", f"{ts!r} lies before 2000; is it in seconds?")
    return moment


@cache
def _known_fields(contract: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(contract))


def unknown_fields(contract: type[msgspec.Struct], raw: bytes) -> Iterable[str]:
    """The top-level fields of a valid record that its contract does not know."""
    return _fields(raw).keys() - _known_fields(contract)


def dead_letter(
    error: InvalidRecord, raw: bytes, topic: str, partition: int, offset: int, ingested_ms: int
) -> DeadLetter:
    """What is kept of a refused record."""
    return DeadLetter(
        reason=error.reason,
        detail=error.detail,
        topic=topic,
        partition=partition,
        offset=offset,
        sha256=hashlib.sha256(raw).hexdigest(),
        size_bytes=len(raw),
        payload=base64.b64encode(raw[:_KEPT_PAYLOAD_BYTES]).decode("ascii"),
        ingested_ms=ingested_ms,
    )
