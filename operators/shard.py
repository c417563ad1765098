"""The batch loop, without an engine: a shard's micro-batch in, outputs for Kafka out.

Flink's operator, the JVM-free test harness, replay and the benchmark's plain loop all run this
class, each with a `ShardStore` of its own.

    records ─▶ sort ─▶ for each: decode, find customer, step ─▶ clock ─▶ due list, purse ─▶ commit

`operators.records` has the form of records and outputs. What a shard asks of the keeper of a budget
is an output too, of `names.ASKS` instead of a topic, and so is what only `learn` hears:
`names.EXPOSED`, `RULES`.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from operators import names, records
from operators.batch import SHARD_KEY, Batch, Kept, Steps
from operators.early import Early, Heard
from operators.records import Output, Record
from operators.unpublished import Unpublished
from schemas import topics
from schemas.audit import TakenUp
from schemas.budget import Lease
from schemas.decision import Decision
from schemas.errors import InvalidRecord, RefusedControl
from schemas.wire import dead_letter, encode
from scoring.budget import Keeper
from scoring.world import World
from state.clock import ShardClock
from state.customer import Customer
from state.due import DueList
from state.purse import Purse

SEPARATOR: Final = records.SEPARATOR
DUE_CUSTOMERS: Final = 128
"""Some 25 ms of a shard: five times a second so many are served beside the events."""
FOUR_SHARDS: Final = "888877776666eeee"
"""Names of four shards by an MD5's first digit: Flink places these a quarter of its keys apart, so
that one, two or four TaskManagers get equal shares. Any others would lie as chance has it."""

_RULING: Final = ("campaign/", "policy/", "experiment/")
_decode_shard: Final = msgspec.msgpack.Decoder(tuple[bytes, int, Heard, int]).decode


Published = Callable[[int], Iterable[Decision]]
"""Gives the decisions that were published after a time of the wall clock, and maybe others too."""


def nothing_published(_saved_ms: int) -> tuple[Decision, ...]:
    """What a run finds that nothing went before."""
    return ()


Unread = Callable[[int], Sequence[Record] | None]
"""Gives the outcomes that came after a time of the wall clock, oldest first, and maybe others.

None is for a shard that begins with the topics, where outcomes are taken as they come.
"""


def in_order_as_they_come(_saved_ms: int) -> None:
    """What a run finds whose topics are read in the order of their records."""


def _spans(records: Iterable[Record] | None) -> dict[int, tuple[int, int]] | None:
    """The offsets of records by partition: the first, and the one after the last."""
    if records is None:
        return None
    found: dict[int, tuple[int, int]] = {}
    for _, partition, offset, _, _ in records:
        first, end = found.get(partition, (offset, 0))
        found[partition] = min(first, offset), max(end, offset + 1)
    return found


class ShardStore(Protocol):
    """Keyed state of one shard: keys to bytes. Customers' ids, and keys of ours that start NUL."""

    def get(self, key: str) -> bytes | None:
        """The bytes of a key, None when there are none."""
        ...

    def put_all(self, dirty: Mapping[str, bytes | None]) -> None:
        """Write keys; a value of None removes its key."""
        ...


class MemoryStore(dict[str, bytes]):
    """A `ShardStore` in a dictionary."""

    def put_all(self, dirty: Mapping[str, bytes | None]) -> None:
        """Write keys; a value of None removes its key."""
        for key, value in dirty.items():
            if value is None:
                self.pop(key, None)
            else:
                self[key] = value


class DeciderConfig(NamedTuple):
    """Bounds of one subtask.

    Attributes:
        cached_customers: how many decoded customers it keeps at hand.
        unpublished_customers: of how many of a shard a new profile may wait for the next tick; 0
            publishes with each batch.
        due_customers: for how many of a shard a tick does what is due; 0 for all. A batch does so
            for one for each of its inputs.
        shards: 4, 16 or 256: whoever cut the batches read the customer from the raw payload, so
            it is checked that they read the same as we do; None where the batches are our own.
        partitions: how many the topic of events has, which a shard then waits for from the start
            until a tick says that they are read; 0 for those alone that it has seen.
        lends: whether it lends the budgets to its shards itself, being all of the stream.
    """

    cached_customers: int = 20_000
    unpublished_customers: int = 1_000
    due_customers: int = 0
    shards: int | None = None
    partitions: int = 0
    lends: bool = False


def stream_config(shards: int, partitions: int) -> DeciderConfig:
    """The bounds of a subtask of the stream, and of whoever decides again what it decided."""
    return DeciderConfig(shards=shards, partitions=partitions, due_customers=DUE_CUSTOMERS)


def shard_of(user_id: str, shards: int) -> str:
    """The shard of a customer, of 4, 16 or 256, by the leading hex digits of an MD5."""
    digest = hashlib.md5(user_id.encode(), usedforsecurity=False).hexdigest()
    if shards == 4:
        return FOUR_SHARDS[int(digest[0], 16)]
    return digest[: 1 if shards == 16 else 2]


class Decider:
    """Runs the core for the shards of one subtask.

    It keeps decoded customers at hand, least recently used first out, and writes through: after
    `on_batch` the store holds everything. ``control`` is a snapshot of the control topic, in
    force before the first record; ``published`` is asked, when a shard's state is taken up, for the
    decisions that were published after it was saved (see `World.sealed`).
    ``unread`` is asked then too, for the outcomes that lie unread (see `operators.early`).
    ``inherited`` are the loans of budgets from before this run, by default those of ``control``.
    ``heard`` is the last offset of the topic in ``control``, and the last heard from then on;
    ``taken_up`` tells of the run what is audited.
    """

    def __init__(
        self,
        config: DeciderConfig = DeciderConfig(),  # noqa: B008 - a NamedTuple is immutable
        control: Iterable[tuple[str, bytes]] = (),
        published: Published = nothing_published,
        inherited: Mapping[str, Lease] | None = None,
        unread: Unread = in_order_as_they_come,
        heard: int = -1,
        taken_up: TakenUp = TakenUp(),  # noqa: B008 - it is frozen
    ) -> None:
        self.world = World()
        self._published = published
        self._unread = unread
        self.counters: Counter[str] = Counter()
        self.heard = heard
        self._limit = config.cached_customers
        self.unpublished_limit = config.unpublished_customers
        self.due_limit = config.due_customers
        self._all_shards = config.shards
        self._partitions = config.partitions
        self._customers: OrderedDict[tuple[str, str], Customer] = OrderedDict()
        self._shards: dict[str, Kept] = {}
        for key, value in control:
            self.on_control(key, value)
        self._lender = Keeper(self.world.leases) if config.lends else None
        self._inherited = dict(self.world.leases) if inherited is None else inherited
        self._taken_up = taken_up

    def on_control(self, key: str, value: bytes | None, *, offset: int = -1) -> list[Output]:
        """Put a control record in force; a refused one becomes a dead letter and no more."""
        self.heard = max(self.heard, offset)
        try:
            self.world.accept(key, value)
        except RefusedControl as error:
            self.counters["control_refused"] += 1
            invalid = InvalidRecord(error.reason, error.detail)
            letter = dead_letter(invalid, value or b"", topics.CONTROL, 0, offset, 0)
            return [Output(topics.DEAD_LETTERS, f"{topics.CONTROL}/{key}", encode(letter))]
        self.counters["control_accepted"] += 1
        return self.rules() if key.startswith(_RULING) else []

    def rules(self) -> list[Output]:
        """What `learn` must know of the campaigns in force, as outputs of `names.RULES`."""
        world = self.world
        found = [world.campaign_rules(spec) for spec in world.campaigns.values()]
        return [Output(names.RULES, each.campaign_id, encode(each)) for each in found]

    def on_batch(self, shard: str, store: ShardStore, records: Sequence[str]) -> list[Output]:
        """Take a micro-batch of a shard through the core and commit what came of it.

        Returns the outputs: for each input exactly one row in an audit record. Profiles wait for
        the next tick: a session that a backlog crowds into a moment is published once.
        """
        return Batch(self, shard, store).run(records)

    def on_tick(self, shard: str, store: ShardStore, now_ms: int, late_ms: int = 0) -> list[Output]:
        """Publish changed profiles, let the wall clock move an idle shard, do what is due.

        ``late_ms`` is how much later the tick comes than it was meant to.
        """
        return Batch(self, shard, store).tick(now_ms, late_ms)

    def shard(self, name: str, store: ShardStore) -> Kept:
        """Clock, due list and purse of a shard, read from the store the first time."""
        found = self._shards.get(name)
        if found is None:
            saved = store.get(SHARD_KEY)
            begun = (None, 0, Heard(), 0)
            data, chunks, heard, steps = begun if saved is None else _decode_shard(saved)
            clock = ShardClock() if data is None else ShardClock.decode(data)
            if data is not None or self._partitions:
                clock.resumed(self._partitions)
            published = self._published(clock.wall_ms)
            self.world.seal(published)
            unread = self._unread(clock.wall_ms)
            found = self._shards[name] = Kept(
                clock,
                DueList(store.get),
                self._purse(name, store, published),
                Unpublished(store.get, chunks),
                {},
                Early(heard),
                Steps(steps, replace(self._taken_up, unread=_spans(unread))),
            )
            if unread is not None:
                Batch(self, name, store).read_ahead(unread)
        return found

    def forget(self, shard: str) -> None:
        """Let go of a shard whose store went back to an earlier state, to take it up anew."""
        self._shards.pop(shard, None)
        for key in [key for key in self._customers if key[0] == shard]:
            del self._customers[key]

    def customer(self, shard: str, user_id: str, store: ShardStore) -> Customer:
        """A customer, from the cache, the store, or new.

        Raises:
            InvalidRecord: this is not the customer's shard, where their state is.
        """
        cache, key = self._customers, (shard, user_id)
        customer = cache.get(key)
        if customer is not None:
            cache.move_to_end(key)
            return customer
        if self._all_shards is not None and shard_of(user_id, self._all_shards) != shard:
            raise InvalidRecord(
                "wrong_type", f"user_id {user_id!r} stands twice in the payload, or is escaped"
            )
        data = store.get(user_id)
        customer = cache[key] = Customer() if data is None else Customer.decode(data)
        if len(cache) > self._limit:
            cache.popitem(last=False)
        return customer

    def _purse(self, shard: str, store: ShardStore, published: Iterable[Decision]) -> Purse:
        every = self._all_shards
        paid = [
            each
            for each in published
            if each.paid_day and (every is None or shard_of(each.user_id, every) == shard)
        ]
        return Purse(shard, store.get, self.world.leases, paid, self._inherited, self._lender)
