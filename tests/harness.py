"""The whole stream without a JVM: a topic of records in, every output out, learning included."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import convert

from operators import names
from operators.challenging import on_messages
from operators.granting import Granter
from operators.learning import Learner, heard
from operators.records import Output
from operators.sealing import leases_in
from operators.shard import SEPARATOR, Decider, DeciderConfig, MemoryStore, shard_of
from schemas import topics
from schemas.budget import Lease
from schemas.control import ControlRecord, control_key
from schemas.decision import Decision
from schemas.wire import encode
from state.customer import Customer
from state.profile import Profile

NOON_MS = 1_700_000_000_000
"""Some moment that tests count from."""


def control(*records: ControlRecord) -> list[tuple[str, bytes]]:
    """Control records as the topic holds them."""
    return [(control_key(record), encode(record)) for record in records]


class Unlabelled(dict[str, bytes]):
    """Examples without a label, in a dictionary."""

    def put(self, key: str, value: bytes) -> None:
        """Keep an example."""
        self[key] = value

    def remove(self, key: str) -> None:
        """Forget an example."""
        del self[key]


class Checkpoint(NamedTuple):
    """State of the operators, and how far the inputs were read."""

    stores: dict[str, MemoryStore]
    arms: dict[str, bytes]
    ledgers: dict[str, bytes]
    offsets: dict[tuple[str, int], int]


class Harness:
    """Kafka, the shards' state and the three operators, in one process and one thread.

    Loans are heard when the events of a `send` are all decided, as they would be in no hurry.
    """

    def __init__(
        self,
        records: Sequence[ControlRecord] = (),
        *,
        shards: int = 4,
        sealed: Iterable[Decision] = (),
        cached_customers: int = 20_000,
    ) -> None:
        self.shards = shards
        self.stores: dict[str, MemoryStore] = defaultdict(MemoryStore)
        self.config = DeciderConfig(cached_customers, shards=shards)
        self._control = dict(control(*records))
        self.decider = Decider(self.config, self._control.items(), lambda _saved_ms: sealed)
        self.learner = Learner((1.0, 19.0))
        self.arms: dict[str, bytes] = {}
        """What `learn` keeps, by campaign."""
        self.challenger: bytes | None = None
        self.unlabelled = Unlabelled()
        self.granter = Granter()
        self.ledgers: dict[str, bytes] = {}
        self.outputs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._offsets: dict[tuple[str, int], int] = defaultdict(int)
        self._collect(self.decider.rules())

    def send(
        self,
        *payloads: dict[str, Any] | bytes,
        topic: str = topics.EVENTS,
        ingested_ms: int | None = None,
        batch: int = 20,
    ) -> list[dict[str, Any]]:
        """Put payloads on a topic and let the stream take them; returns the new decisions.

        Each payload's Kafka time is its own ``ts`` unless ``ingested_ms`` says otherwise.
        """
        before = len(self.outputs[topics.DECISIONS])
        by_shard: dict[str, list[str]] = defaultdict(list)
        for payload in payloads:
            raw = payload if isinstance(payload, bytes) else encode(payload)
            user, ts = _user_and_time(raw)
            shard = shard_of(user, self.shards) if user is not None else "-"
            partition = int(shard_of(user, 16), 16) % 4 if user is not None else 0
            offset = self._offsets[topic, partition]
            self._offsets[topic, partition] += 1
            taken_in = ingested_ms if ingested_ms is not None else ts
            head = SEPARATOR.join((topic, str(partition), str(offset), str(taken_in)))
            by_shard[shard].append(f"{head}{SEPARATOR}{raw.decode('latin-1')}")
        for shard, records in by_shard.items():
            for start in range(0, len(records), batch):
                self._collect(
                    self.decider.on_batch(shard, self.stores[shard], records[start : start + batch])
                )
        return self.outputs[topics.DECISIONS][before:]

    def outcome(self, **fields: Any) -> None:
        """Put an outcome on its topic."""
        self.send(fields, topic=topics.OUTCOMES)

    def tick(self, now_ms: int) -> None:
        """Let the wall clock reach ``now_ms`` in every shard."""
        for shard, store in list(self.stores.items()):
            self._collect(self.decider.on_tick(shard, store, now_ms))

    def restart(self, **changes: Any) -> None:
        """Lose everything that is only in memory; state, arms and offsets remain."""
        snapshot = changes.pop("records", ())
        self.decider = Decider(DeciderConfig(shards=self.shards), control(*snapshot))

    def put(self, record: ControlRecord) -> None:
        """Publish a control record."""
        [(key, value)] = control(record)
        self._control[key] = value
        self._collect(self.decider.on_control(key, value))

    def checkpoint(self) -> Checkpoint:
        """What a crash goes back to."""
        stores = {shard: MemoryStore(store) for shard, store in self.stores.items()}
        return Checkpoint(stores, dict(self.arms), dict(self.ledgers), dict(self._offsets))

    def crash(self, saved: Checkpoint) -> None:
        """Go back to a checkpoint; what was published stays, and operators read it as Flink's do.

        Send the same payloads again to replay them.
        """
        self.stores = defaultdict(MemoryStore)
        for shard, store in saved.stores.items():
            self.stores[shard] = MemoryStore(store)
        self.arms, self.ledgers = dict(saved.arms), dict(saved.ledgers)
        self._offsets = defaultdict(int, saved.offsets)
        sealed = [convert(each, Decision) for each in self.outputs[topics.DECISIONS]]
        self.decider = Decider(self.config, self._control.items(), lambda _saved_ms: sealed, {})
        leases = self._leases()
        for lease in leases.values():
            self.decider.world.leases.accept(lease)
        self.granter = Granter(leases)

    def start_fresh(self) -> None:
        """Forget all state, as ``beckon run --fresh`` does; the topics stay."""
        self.stores, self.arms, self.ledgers = defaultdict(MemoryStore), {}, {}
        leases = self._leases()
        self.decider = Decider(self.config, [*self._control.items(), *control(*leases.values())])
        self.granter = Granter(leases)

    def _leases(self) -> dict[str, Lease]:
        records = self.outputs[topics.CONTROL]
        return leases_in(
            [(f"lease/{number}", encode(record)) for number, record in enumerate(records)]
        )

    def customer(self, user_id: str) -> Customer:
        """A customer as the store holds it."""
        return Customer.decode(self.stores[shard_of(user_id, self.shards)][user_id])

    def profile(self, user_id: str) -> Profile:
        """A customer's profile as the store holds it."""
        return self.customer(user_id).profile()

    def ends(self) -> list[tuple[str, int, int, str, str]]:
        """The audited end of every input: topic, partition, offset, end, reason."""
        return [
            (audit["topics"][row[0]], *row[1:])
            for audit in self.outputs[topics.AUDIT]
            if audit["kind"] == "outcomes"
            for row in audit["rows"]
        ]

    def _collect(self, outputs: list[Output]) -> None:
        asks: dict[str, list[str]] = defaultdict(list)
        for output in outputs:
            topic, key, value = output
            self.outputs[topic].append(msgspec.json.decode(value))
            if topic == names.ASKS:
                asks[key].append(value.decode("latin-1"))
        lessons = heard(outputs)
        for campaign, batch in lessons.items():
            known = self.arms.get(campaign)
            self.arms[campaign], published = self.learner.on_messages(campaign, known, batch)
            self._hear(published)
        told = [each for batch in lessons.values() for each in batch if each[:5] != names.RULES]
        self.challenger, published = on_messages(self.challenger, self.unlabelled, told)
        self._hear(published)
        for campaign, batch in asks.items():
            ledger = self.ledgers.get(campaign)
            self.ledgers[campaign], published = self.granter.on_asks(campaign, ledger, batch)
            self._hear(published)

    def _hear(self, published: list[Output]) -> None:
        """Put what the other operators publish on the control topic in force."""
        for output in published:
            topic, key, value = output
            if value:
                self.outputs[topic].append(msgspec.json.decode(value))
            if topic == topics.CONTROL:
                self.decider.on_control(key, value or None)


def _user_and_time(raw: bytes) -> tuple[str | None, int]:
    """What the JVM takes from a payload: the customer if it is JSON, and some Kafka time."""
    try:
        record = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, NOON_MS
    if not isinstance(record, dict) or not isinstance(record.get("user_id"), str):
        return None, NOON_MS
    ts = record.get("ts")
    return record["user_id"], ts if isinstance(ts, int) else NOON_MS


_serial = iter(range(10**9))


def event(user_id: str = "ann", action: str = "view", ts: int = NOON_MS, **fields: Any) -> Any:
    """A valid event; ``event_id`` is a fresh one unless given."""
    return {
        "event_id": f"e{next(_serial)}",
        "user_id": user_id,
        "action": action,
        "ts": ts,
        **fields,
    }


def consenting(user_id: str = "ann", ts: int = NOON_MS - 1_000, **fields: Any) -> Any:
    """An event by which a customer allows everything."""
    consent = {"marketing": True, "sms": True, "push": True, "email": True}
    return event(user_id, "login", ts, consent=consent, **fields)
