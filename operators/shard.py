"""The batch loop, without an engine: a shard's micro-batch in, strings for Kafka out.

Flink's operator, the JVM-free test harness, replay and the benchmark's plain loop all run this
class, each with a `ShardStore` of its own.

    records ─▶ sort ─▶ for each: decode, find customer, step ─▶ clock ─▶ due list, purse ─▶ commit

A record is ``topic ␟ partition ␟ offset ␟ Kafka time in ms ␟ payload`` and an output is
``topic ␟ key ␟ value`` (␟ is U+001F); what a shard asks of the keeper of a budget is an output too,
of `names.ASKS` instead of a topic, and so is what only `learn` hears: `names.EXPOSED`, `RULES`.
Payloads and values are bytes carried as ISO-8859-1 text, which is how the JVM hands them over
without touching them.
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from operators import names
from operators.unpublished import Unpublished
from schemas import topics
from schemas.audit import Outcomes
from schemas.budget import Lease
from schemas.decision import Decision
from schemas.errors import InvalidRecord, RefusedControl
from schemas.event import BehaviorEvent
from schemas.learning import Example
from schemas.outcome import Outcome
from schemas.profile import Profile
from schemas.wire import dead_letter, decode_event, decode_outcome, encode, unknown_fields
from scoring.budget import Keeper
from scoring.emit import Emit, Step
from scoring.step import event_time, on_due, on_event, on_outcome
from scoring.world import World
from state.clock import ShardClock
from state.customer import Customer
from state.due import DueList
from state.purse import Purse

SEPARATOR: Final = "\x1f"
FOUR_SHARDS: Final = "888877776666eeee"
"""Names of four shards by an MD5's first digit: Flink places these a quarter of its keys apart, so
that one, two or four TaskManagers get equal shares. Any others would lie as chance has it."""
UNKNOWN_FIELDS_SHARE: Final = 16
"""One record in so many, by offset, is looked through for fields that the contract lacks."""

_RULING: Final = ("campaign/", "policy/", "experiment/")
_SHARD: Final = "\x00shard"
_INPUTS: Final = list(topics.INPUTS)
_PLACE: Final = {topic: place for place, topic in enumerate(_INPUTS)}
_encode_shard: Final = msgspec.msgpack.Encoder().encode
_decode_shard: Final = msgspec.msgpack.Decoder(tuple[bytes, int]).decode


Published = Callable[[int], Iterable[Decision]]
"""Gives the decisions that were published after a time of the wall clock, and maybe others too."""


def nothing_published(_saved_ms: int) -> tuple[Decision, ...]:
    """What a run finds that nothing went before."""
    return ()


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
        shards: 4, 16 or 256: whoever cut the batches read the customer from the raw payload, so
            it is checked that they read the same as we do; None where the batches are our own.
        partitions: how many the topic of events has, which a shard then waits for from the start
            until a tick says that they are read; 0 for those alone that it has seen.
        lends: whether it lends the budgets to its shards itself, being all of the stream.
    """

    cached_customers: int = 20_000
    unpublished_customers: int = 1_000
    shards: int | None = None
    partitions: int = 0
    lends: bool = False


class _Shard(NamedTuple):
    """What is kept of a shard besides its customers; ``purse`` is its part of the budgets.

    ``unpublished`` has the customers whose published profile is older than their state; ``stored``
    what the store holds of those, to publish it as it is.
    """

    clock: ShardClock
    due: DueList
    purse: Purse
    unpublished: Unpublished
    stored: dict[str, _Stored]


_Stored = tuple[int, int, bytes]
"""A customer as written: time of the newest fact, revision, and the bytes."""


_Record = tuple[str, int, int, int, str]
"""Topic, partition, offset, Kafka time in ms, payload."""


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
    ``inherited`` are the loans of budgets from before this run, by default those of ``control``.
    """

    def __init__(
        self,
        config: DeciderConfig = DeciderConfig(),  # noqa: B008 - a NamedTuple is immutable
        control: Iterable[tuple[str, bytes]] = (),
        published: Published = nothing_published,
        inherited: Mapping[str, Lease] | None = None,
    ) -> None:
        self.world = World()
        self._published = published
        self.counters: Counter[str] = Counter()
        self._limit = config.cached_customers
        self.unpublished_limit = config.unpublished_customers
        self._all_shards = config.shards
        self._partitions = config.partitions
        self._customers: OrderedDict[tuple[str, str], Customer] = OrderedDict()
        self._shards: dict[str, _Shard] = {}
        for key, value in control:
            self.on_control(key, value)
        self._lender = Keeper(self.world.leases) if config.lends else None
        self._inherited = dict(self.world.leases) if inherited is None else inherited

    def on_control(self, key: str, value: bytes | None, *, offset: int = -1) -> list[str]:
        """Put a control record in force; a refused one becomes a dead letter and no more."""
        try:
            self.world.accept(key, value)
        except RefusedControl as error:
            self.counters["control_refused"] += 1
            invalid = InvalidRecord(error.reason, error.detail)
            letter = dead_letter(invalid, value or b"", topics.CONTROL, 0, offset, 0)
            return [_output(topics.DEAD_LETTERS, f"{topics.CONTROL}/{key}", encode(letter))]
        self.counters["control_accepted"] += 1
        return self.rules() if key.startswith(_RULING) else []

    def rules(self) -> list[str]:
        """What `learn` must know of the campaigns in force, as outputs of `names.RULES`."""
        world = self.world
        found = [world.campaign_rules(spec) for spec in world.campaigns.values()]
        return [_output(names.RULES, each.campaign_id, encode(each)) for each in found]

    def on_batch(self, shard: str, store: ShardStore, records: Sequence[str]) -> list[str]:
        """Take a micro-batch of a shard through the core and commit what came of it.

        Returns the outputs: for each input exactly one row in an audit record. Profiles wait for
        the next tick: a session that a backlog crowds into a moment is published once.
        """
        return _Batch(self, shard, store).run(records)

    def on_tick(self, shard: str, store: ShardStore, now_ms: int, late_ms: int = 0) -> list[str]:
        """Publish changed profiles, let the wall clock move an idle shard, do what is due.

        ``late_ms`` is how much later the tick comes than it was meant to.
        """
        return _Batch(self, shard, store).tick(now_ms, late_ms)

    def shard(self, name: str, store: ShardStore) -> _Shard:
        """Clock, due list and purse of a shard, read from the store the first time."""
        found = self._shards.get(name)
        if found is None:
            saved = store.get(_SHARD)
            data, chunks = (None, 0) if saved is None else _decode_shard(saved)
            clock = ShardClock() if data is None else ShardClock.decode(data)
            if data is not None or self._partitions:
                clock.resumed(self._partitions)
            published = self._published(clock.wall_ms)
            self.world.sealed.update((each.decision_id, each) for each in published)
            found = self._shards[name] = _Shard(
                clock,
                DueList(store.get),
                self._purse(name, store, published),
                Unpublished(store.get, chunks),
                {},
            )
        return found

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


class _Batch:
    """One micro-batch of one shard."""

    def __init__(self, decider: Decider, shard: str, store: ShardStore) -> None:
        self.decider = decider
        self.world = decider.world
        self.name = shard
        self.store = store
        kept = decider.shard(shard, store)
        self.clock, self.due, self.purse, self.unpublished, self.stored = kept
        self.lateness_ms = decider.world.policy.lateness_ms
        self.touched: dict[str, tuple[Customer, int]] = {}
        self.outputs: list[str] = []

    def run(self, records: Sequence[str]) -> list[str]:
        rows: list[tuple[int, int, int, str, str]] = []
        counters = self.decider.counters
        for record in _in_order(records):
            end, reason, emits = self._take(record)
            rows.append((_PLACE[record[0]], record[1], record[2], end, reason))
            counters[end] += 1
            if emits:
                self._publish(emits)
        self._fire(self.clock.advance(self.lateness_ms))
        self._tend(self.clock.now_ms)
        audit = Outcomes(self.name, _INPUTS, rows)
        self.outputs.append(_output(topics.AUDIT, self.name, encode(audit)))
        return self._commit()

    def tick(self, now_ms: int, late_ms: int) -> list[str]:
        before, marked_ms = self.clock.now_ms, self.clock.wall_ms
        clock_ms = self.clock.tick(now_ms, self.lateness_ms, late_ms)
        self._tend(clock_ms)
        if (
            clock_ms == before
            and self.clock.wall_ms == marked_ms
            and not self.unpublished.since
            and not self.purse.changed
            and not self.due.has_due(clock_ms)
        ):
            return []
        self._fire(clock_ms)
        return self._commit(publish=True)

    def _take(self, record: _Record) -> Step:
        topic, partition, offset, ingested_ms, payload = record
        raw = payload.encode("latin-1")
        contract: type[BehaviorEvent | Outcome]
        try:
            if topic == topics.OUTCOMES:
                contract = Outcome
                outcome = decode_outcome(raw)
                ts = event_time(outcome.ts, ingested_ms, self.world)
                step = on_outcome(
                    self._touch(outcome.user_id, ts), outcome, ts, self.world, self.purse
                )
            else:
                contract = BehaviorEvent
                step = self._event(decode_event(raw), partition, ingested_ms)
        except InvalidRecord as error:
            return self._bury(error, raw, record)
        if offset % UNKNOWN_FIELDS_SHARE == 0 and unknown_fields(contract, raw):
            self.decider.counters["unknown_fields_sampled"] += 1
        return step

    def _event(self, event: BehaviorEvent, partition: int, ingested_ms: int) -> Step:
        ts = event_time(event.ts, ingested_ms, self.world)
        again = event.user_id in self.touched
        customer = self._touch(event.user_id, ts)
        # What fell due before this event is settled first, with what was known up to then.
        before_ms = ts - self.lateness_ms
        book = customer.book
        hints = book.hints
        # A batch leaves nothing in a book that is due before the book's first hint.
        asked = again or (hints and hints[0] <= before_ms)
        wake_ms = book.wake_at_ms() if asked else None
        if wake_ms is not None and wake_ms <= before_ms:
            self._publish(on_due(event.user_id, customer, before_ms, self.world, self.purse))
        step = on_event(customer, event, ts, ingested_ms, self.world, self.purse)
        self.clock.observe(partition, ts, ingested_ms)
        return step

    def _touch(self, user_id: str, now_ms: int) -> Customer:
        """The customer, settled before the batch's first fact, and to be written at its end."""
        found = self.touched.get(user_id)
        if found is not None:
            return found[0]
        customer = self.decider.customer(self.name, user_id, self.store)
        if customer.settles(now_ms, self.lateness_ms):
            since = self.unpublished.pop(user_id)
            if since is not None:  # what has settled can no longer be told apart
                self._publish_profile(user_id, since)
            customer.settle(now_ms, self.lateness_ms)
        self.touched[user_id] = (customer, customer.book.revision)
        return customer

    def _bury(self, error: InvalidRecord, raw: bytes, record: _Record) -> Step:
        letter = dead_letter(error, raw, *record[:4])
        key = "/".join(map(str, record[:3]))
        self.outputs.append(_output(topics.DEAD_LETTERS, key, encode(letter)))
        return Step("dead", error.reason, [])

    def _fire(self, clock_ms: int) -> None:
        for user_id in self.due.pop_due(clock_ms):
            customer = self._touch(user_id, clock_ms)
            book = customer.book
            book.hints = [hint for hint in book.hints if hint > clock_ms]
            self._publish(on_due(user_id, customer, clock_ms, self.world, self.purse))

    def _tend(self, now_ms: int) -> None:
        self.purse.tend(now_ms, self.world.metered, self.world.policy)

    def _publish(self, emits: list[Emit]) -> None:
        counters = self.decider.counters
        for topic, key, record in emits:
            counters[topic] += 1
            value = encode(record)
            self.outputs.append(_output(topic, key, value))
            if isinstance(record, Example):
                self.outputs.append(_output(names.EXPOSED, record.campaign_id, value))

    def _publish_profiles(self) -> None:
        for user_id, since in self.unpublished.since.items():
            self._publish_profile(user_id, since)
        self.unpublished.clear()

    def _publish_profile(self, user_id: str, since: int) -> None:
        """Publish a customer as of the last commit."""
        stored = self.stored.pop(user_id, None)
        if stored is None:  # it waited since before a restart
            customer = self.decider.customer(self.name, user_id, self.store)
            stored = customer.book.newest_ms, customer.book.revision, customer.encode()
        newest_ms, revision, data = stored
        snapshot = b2a_base64(data, newline=False).decode("ascii")
        profile = Profile(user_id, newest_ms, revision, since, snapshot)
        self.outputs.append(_output(topics.PROFILES, user_id, encode(profile)))

    def _commit(self, *, publish: bool = False) -> list[str]:
        dirty: dict[str, bytes | None] = {}
        unpublished = self.unpublished
        changed, stored = unpublished.since, self.stored
        for user_id, (customer, since) in self.touched.items():
            book = customer.book
            wake_ms, hints = book.wake_at_ms(), book.hints
            if wake_ms is not None and (not hints or wake_ms < hints[0]):
                hints.insert(0, wake_ms)
                self.due.add(user_id, wake_ms)
            data = dirty[user_id] = customer.encode()
            if user_id not in changed:
                if book.revision == since:
                    continue
                unpublished.note(user_id, since)
            stored[user_id] = (book.newest_ms, book.revision, data)
        if publish or len(unpublished.since) > self.decider.unpublished_limit:
            self._publish_profiles()
        dirty.update(unpublished.take_writes())
        dirty.update(self.due.take_writes())
        if self.purse.changed:
            dirty.update(self.purse.take_writes())
            for ask in self.purse.take_asks():
                self.outputs.append(_output(names.ASKS, ask.campaign_id, encode(ask)))
        dirty[_SHARD] = _encode_shard((self.clock.encode(), unpublished.chunks))
        self.store.put_all(dirty)
        return self.outputs


def _in_order(records: Sequence[str]) -> list[_Record]:
    """Parse, and restore the order of each partition, on which equal decisions rest."""
    parsed = []
    for record in records:
        topic, partition, offset, ingested_ms, payload = record.split(SEPARATOR, 4)
        parsed.append((topic, int(partition), int(offset), int(ingested_ms), payload))
    parsed.sort()
    return parsed


def _output(topic: str, key: str, value: bytes) -> str:
    return f"{topic}{SEPARATOR}{key}{SEPARATOR}{value.decode('latin-1')}"
