"""What a view is: a store that shows to others what the stream knows of a customer.

A view is never the truth. It is filled from the published profiles and decisions, can be thrown
away and filled again, and takes every record any number of times and in any order: what it holds
of a customer is the newest that it was ever given.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import msgspec
from msgspec import Struct, field

from schemas.decision import Decision
from schemas.errors import InvalidRecord
from schemas.event import SCHEMA_VERSION
from schemas.profile import Profile as Published
from state.customer import CorruptState, Customer
from state.fact import Fact
from state.tagging.base import Value


class Update(Struct, frozen=True):
    """A published profile, unfolded as far as a view needs it.

    ``dimensions`` are as of ``event_ms``, so the same record always shows the same; a view that
    does not ask for them gets none. ``facts`` are those that are new in the record.
    """

    user_id: str
    event_ms: int
    revision: int
    snapshot: bytes
    facts: list[Fact]
    dimensions: dict[str, Value]


class Batch(Struct):
    """What a view takes in at once: erasures, then the rest.

    ``updates`` has one for each customer, the newest; ``facts`` are of all records, by customer.
    """

    updates: dict[str, Update] = field(default_factory=dict)
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    erased: set[str] = field(default_factory=set)

    def add(self, update: Update) -> None:
        """Take an update in, unless a newer one of the same customer is there."""
        user = update.user_id
        held = self.updates.get(user)
        if held is None or (held.event_ms, held.revision) <= (update.event_ms, update.revision):
            self.updates[user] = update
        if update.facts:
            self.facts.setdefault(user, []).extend(update.facts)

    def erase(self, user: str) -> None:
        """Forget a customer and what came before in this batch."""
        self.updates.pop(user, None)
        self.facts.pop(user, None)
        self.erased.add(user)


class Shown(Struct, frozen=True):
    """A customer as a view shows them: every dimension as of ``event_ms``."""

    user_id: str
    event_ms: int
    revision: int
    dimensions: dict[str, Value]


class Entry(Struct, frozen=True):
    """One row of a customer's history: a fact that was accepted, or a decision of ours."""

    ts: int
    kind: Literal["fact", "decision"]
    body: dict[str, Any]


class View(Protocol):
    """A store behind which customers are looked up. Not for use by two threads at once.

    Every call raises `schemas.errors.StoreUnavailable` when the store does not answer in time;
    the same call may then be made again, whatever part of it was done.
    """

    UNFOLDS: ClassVar[bool]
    """Whether it shows dimensions as they come, or unfolds a snapshot when it is read."""
    KEEPS_HISTORY: ClassVar[bool]
    """Whether it wants facts and decisions."""

    def write(self, batch: Batch) -> None:
        """Take a batch in; on return it is there for every reader."""

    def read(self, user: str) -> Shown | None:
        """A customer, None for one who is not known."""

    def history(self, user: str, limit: int) -> list[Entry]:
        """The newest entries first; empty in a view that keeps none."""

    def close(self) -> None:
        """Let go of connections."""


RecordT = TypeVar("RecordT", Published, Decision)

_published = msgspec.json.Decoder(Published)
_decision = msgspec.json.Decoder(Decision)


def read_update(value: bytes, *, unfold: bool, facts: bool) -> Update:
    """Read a record of the profiles topic; only what is asked for is unfolded.

    Raises:
        InvalidRecord: it is not what the stream writes, or of another release.
    """
    record = _decode(_published, value)
    try:
        snapshot = base64.b64decode(record.snapshot, validate=True)
        customer = Customer.decode(snapshot)
        return Update(
            record.user_id,
            record.event_ms,
            record.revision,
            snapshot,
            [fact for fact in customer.tail if fact.seq > record.since] if facts else [],
            customer.profile().dimensions(record.event_ms) if unfold else {},
        )
    except (binascii.Error, CorruptState, msgspec.DecodeError) as error:
        raise InvalidRecord("wrong_type", f"the snapshot cannot be read: {error}") from error


def read_decision(value: bytes) -> Decision:
    """Read a record of the decisions topic; raises as `read_update` does."""
    return _decode(_decision, value)


def unfold(user: str, event_ms: int, revision: int, snapshot: bytes) -> Shown:
    """A customer from the snapshot that a view kept."""
    dimensions = Customer.decode(snapshot).profile().dimensions(event_ms)
    return Shown(user, event_ms, revision, dimensions)


def _decode(decoder: msgspec.json.Decoder[RecordT], value: bytes) -> RecordT:
    try:
        record = decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRecord("wrong_type", str(error)) from error
    if record.schema_version != SCHEMA_VERSION:
        raise InvalidRecord("unknown_version", f"schema_version {record.schema_version!r}")
    return record
