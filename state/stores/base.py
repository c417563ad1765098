"""What a view is: a store that shows to others what the stream knows of a customer.

A view is never the truth. It is filled from the published profiles and decisions, can be thrown
away and filled again, and takes every record any number of times and in any order: what it holds
of a customer is the newest that it was ever given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import msgspec
from msgspec import Struct, field

from schemas.audit import Shadow
from schemas.decision import Decision
from schemas.errors import InvalidRecord
from schemas.event import SCHEMA_VERSION
from schemas.profile import Profile as Published
from state.customer import Customer
from state.fact import Fact
from state.profile import CorruptState
from state.stores.learned import Learned, Lesson
from state.tagging.base import Value


class Update(Struct, frozen=True):
    """What is new about a customer.

    ``dimensions`` are as of ``event_ms``, so the same record always shows the same; there are
    none for a view that does not ask for them.
    """

    user_id: str
    event_ms: int
    revision: int
    snapshot: bytes
    dimensions: dict[str, Value]


class Batch(Struct):
    """What a view takes in at once: first the erasures, then the rest.

    ``updates`` has the newest of each customer; ``facts``, by customer, are those of all records.
    ``withdrawn`` and ``lessons`` are of what was learned, by control key, and ``shadow`` what was
    last told of the challenger.
    """

    updates: dict[str, Update] = field(default_factory=dict)
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    erased: set[str] = field(default_factory=set)
    lessons: dict[str, Lesson] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)
    shadow: Shadow | None = None


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
    SHOWS_LEARNED: ClassVar[bool]
    """Whether it wants posteriors, mixes and what is told of the challenger."""

    def write(self, batch: Batch) -> None:
        """Take a batch in; on return it is there for every reader."""

    def read(self, user: str) -> Shown | None:
        """A customer, None for one who is not known."""

    def history(self, user: str, limit: int) -> list[Entry]:
        """The newest entries first; empty in a view that keeps none."""

    def learned(self) -> Learned:
        """What was learned of every campaign; empty in a view that does not show it."""

    def close(self) -> None:
        """Let go of connections."""


RecordT = TypeVar("RecordT", Published, Decision)

_published = msgspec.json.Decoder(Published)
_decision = msgspec.json.Decoder(Decision)


def read_profile(value: bytes) -> Published:
    """Read a record of the profiles topic, without what is folded in it.

    Raises:
        InvalidRecord: it is not what the stream writes, or of another release.
    """
    return _decode(_published, value)


def new_facts(record: Published) -> list[Fact]:
    """The facts that are new in a record; raises as `read_profile` does."""
    with _readable():
        tail = Customer.decode(record.snapshot).tail
    return [fact for fact in tail if fact.seq > record.since]


def update_of(record: Published, *, unfolded: bool) -> Update:
    """What a record says of its customer; raises as `read_profile` does.

    Unfolding all dimensions costs fifty times the rest: do it for the newest record only.
    """
    with _readable():
        customer = Customer.decode(record.snapshot)
        dimensions = customer.profile().dimensions(record.event_ms) if unfolded else {}
    return Update(record.user_id, record.event_ms, record.revision, record.snapshot, dimensions)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (CorruptState, msgspec.DecodeError) as error:
        raise InvalidRecord("wrong_type", f"the snapshot cannot be read: {error}") from error


def read_decision(value: bytes) -> Decision:
    """Read a record of the decisions topic; raises as `read_profile` does."""
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
