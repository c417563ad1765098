"""The stream's core off the stream: one shard in memory, a clock of its own, and no effects.

`jobs.preview` puts a copy of one customer into it, `jobs.scenarios` tells it a whole story. It
runs `operators.shard.Decider`, so what it says is what the stream would say; and every refusal is
told, where the stream keeps them for a sample of the customers. Of a budget it spends what is not
lent to the stream's shards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec
from msgspec import Struct, field

from operators.records import Output
from operators.shard import SEPARATOR, Decider, DeciderConfig, MemoryStore
from schemas import topics
from schemas.audit import AuditRecord, Candidate, Outcomes
from schemas.deadletter import DeadLetter
from schemas.decision import Decision
from state.clock import TICK_GRACE_MS
from state.customer import Customer

T = TypeVar("T")

_SHARD: Final = "sandbox"
_decision: Final = msgspec.json.Decoder(Decision)
_audit: Final[msgspec.json.Decoder[AuditRecord]] = msgspec.json.Decoder(AuditRecord)
_letter: Final = msgspec.json.Decoder(DeadLetter)


class Said(Struct):
    """What came of an input, or of the passing of time.

    ``end`` and ``reason`` are the input's, as `schemas.audit.OUTCOMES` has them; ``letter`` is
    there for one that was refused.
    """

    decisions: list[Decision] = field(default_factory=list)
    refusals: list[Candidate] = field(default_factory=list)
    end: str = ""
    reason: str = ""
    letter: DeadLetter | None = None


class Sandbox:
    """One shard with these control records in force; ``sealed`` as `operators.shard.Decider`."""

    def __init__(
        self, control: Iterable[tuple[str, bytes]], sealed: Iterable[Decision] = ()
    ) -> None:
        self.decider = Decider(DeciderConfig(lends=True), control, lambda _saved_ms: tuple(sealed))
        self.decider.world.audited_share = 1
        self._store = MemoryStore()
        self._users: set[str] = set()
        self._offset = 0

    def put(self, user_id: str, state: bytes) -> None:
        """Let a customer have this state; it is decoded anew, so the original is not touched."""
        self._store[user_id] = state
        self._users.add(user_id)

    def customer(self, user_id: str) -> Customer:
        """The customer as the core has them; read it, do not change it."""
        return self.decider.customer(_SHARD, user_id, self._store)

    def control(self, key: str, value: bytes | None) -> None:
        """Put a control record in force."""
        self.decider.on_control(key, value)

    def take(self, topic: str, user_id: str, payload: bytes, ingested_ms: int) -> Said:
        """Take in an event or an outcome that Kafka had at ``ingested_ms``."""
        return self.take_all([(topic, user_id, payload, ingested_ms, 0)])

    def take_all(self, inputs: Iterable[tuple[str, str, bytes, int, int]]) -> Said:
        """Take in events and outcomes, each partition's in this order.

        Of several, ``end`` is the last one's.
        """
        records = []
        for topic, user_id, payload, ingested_ms, partition in inputs:
            self._users.add(user_id)
            self._offset += 1
            place = topic, str(partition), str(self._offset), str(ingested_ms)
            head = SEPARATOR.join(place)
            records.append(f"{head}{SEPARATOR}{payload.decode('latin-1')}")
        return _said(self.decider.on_batch(_SHARD, self._store, records))

    def wait(self, until_ms: int) -> Said:
        """Let the wall clock run to ``until_ms``, stopping wherever something falls due."""
        said = Said()
        seen_ms = 0
        while (due_ms := self._next_due()) is not None and seen_ms < due_ms <= until_ms:
            seen_ms = due_ms
            _add(said, self.tick(due_ms))
        _add(said, self.tick(until_ms))
        return said

    def tick(self, wall_ms: int) -> Said:
        """Let the wall clock be at ``wall_ms``, and do what has fallen due until then."""
        return _said(self.decider.on_tick(_SHARD, self._store, wall_ms))

    def patience_ms(self) -> int:
        """How long after something fell due the stream, which waits for late events, does it."""
        return TICK_GRACE_MS + self.decider.world.policy.lateness_ms

    def _next_due(self) -> int | None:
        wakes = (self.customer(user).book.wake_at_ms() for user in self._users)
        first = min((wake for wake in wakes if wake is not None), default=None)
        return None if first is None else first + self.patience_ms()


def _add(said: Said, more: Said) -> None:
    said.decisions += more.decisions
    said.refusals += more.refusals


def _said(outputs: Iterable[Output]) -> Said:
    said = Said()
    for output in outputs:
        topic, _, raw = output
        if topic == topics.DECISIONS:
            said.decisions.append(_decision.decode(raw))
        elif topic == topics.DEAD_LETTERS:
            said.letter = _letter.decode(raw)
        elif topic == topics.AUDIT:
            record = _audit.decode(raw)
            if isinstance(record, Candidate):
                said.refusals.append(record)
            elif isinstance(record, Outcomes) and record.rows:
                said.end, said.reason = record.rows[-1][3:]
    return said
