"""One micro-batch of one shard through the core, or one tick: see `operators.shard`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from operators import names
from operators.early import LONGEST_MS, Early
from operators.records import Output, Record, in_order
from operators.unpublished import Unpublished
from schemas import topics
from schemas.audit import Outcomes, TakenUp
from schemas.errors import InvalidRecord
from schemas.event import BehaviorEvent
from schemas.learning import Example
from schemas.outcome import Outcome
from schemas.profile import Profile
from schemas.wire import (
    dead_letter,
    decode_event,
    decode_outcome,
    encode,
    instant_ms,
    unknown_fields,
)
from scoring.emit import Emit, Step
from scoring.step import event_time, on_due, on_event, on_outcome
from state.clock import ShardClock
from state.customer import Customer
from state.due import DueList
from state.purse import Purse

if TYPE_CHECKING:
    from operators.shard import Decider, ShardStore

UNKNOWN_FIELDS_SHARE: Final = 16
"""One record in so many, by offset, is looked through for fields that the contract lacks."""

SHARD_KEY: Final = "\x00shard"
"""Where a shard's store has its clock, how many chunks of the unpublished there are, the outcomes
that it has heard, and how many steps it has taken."""

_INPUTS: Final = list(topics.INPUTS)
_PLACE: Final = {topic: place for place, topic in enumerate(_INPUTS)}
_encode_shard: Final = msgspec.msgpack.Encoder().encode


def served_by_a_batch(inputs: int) -> int:
    """How many customers a batch serves at most of those for whom something is due.

    One for each input, so that neither waits for the other for long.
    """
    return max(16, inputs)


Stored = tuple[int, int, bytes]
"""A customer as written: time of the newest fact, revision, and the bytes."""


class Steps:
    """The steps of a shard, as they are audited.

    ``number`` is that of the last, ``ticks`` are those since, ``taken_up`` is told with the next.
    """

    __slots__ = ("number", "taken_up", "ticks")

    def __init__(self, number: int, taken_up: TakenUp | None) -> None:
        self.number = number
        self.taken_up = taken_up
        self.ticks: list[tuple[int, int]] = []


class Kept(NamedTuple):
    """What is kept of a shard besides its customers; ``purse`` is its part of the budgets.

    ``unpublished`` has the customers whose published profile is older than their state; ``stored``
    what the store holds of those, to publish it as it is.
    """

    clock: ShardClock
    due: DueList
    purse: Purse
    unpublished: Unpublished
    stored: dict[str, Stored]
    early: Early
    steps: Steps


class Batch:
    """One micro-batch of one shard."""

    def __init__(self, decider: Decider, shard: str, store: ShardStore) -> None:
        self.decider = decider
        self.world = decider.world
        self.name = shard
        self.store = store
        kept = decider.shard(shard, store)
        self.clock, self.due, self.purse, self.unpublished, self.stored = kept[:5]
        self.early, self.steps = kept[5:]
        self.lateness_ms = decider.world.policy.lateness_ms
        self.fired_ms = self.clock.now_ms
        self.touched: dict[str, tuple[Customer, int]] = {}
        self.outputs: list[Output] = []
        self.rows: list[tuple[int, int, int, str, str]] = []
        self.given: list[tuple[int, int, int]] | None = None

    def run(self, records: Sequence[str]) -> list[Output]:
        """Take records, then do what is due; returns the outputs."""
        early = self.early
        out_of_turn = early.active
        in_turn = in_order(records)
        for record in in_turn:
            if record[0] == topics.OUTCOMES:
                user_id = self._customer_of(record) if early.active else None
                if early.deliver(record, user_id):
                    out_of_turn = True
                    continue
            self._end(record, self._take(record))
        self._fire(self.clock.advance(self.lateness_ms), served_by_a_batch(len(records)))
        self._tend(self.clock.now_ms)
        if out_of_turn:
            given = [(_PLACE[record[0]], record[1], record[2]) for record in in_turn]
            if [row[:3] for row in self.rows] != given:
                self.given = given
        return self._commit()

    def read_ahead(self, records: Iterable[Record]) -> None:
        """Let the outcomes that lie unread wait for their places."""
        unread = ((self._customer_of(record), record) for record in records)
        self.early.begin((user_id, record) for user_id, record in unread if user_id is not None)

    def tick(self, now_ms: int, late_ms: int) -> list[Output]:
        """Let the wall clock move on; returns the outputs."""
        self.steps.ticks.append((now_ms, late_ms))
        before, marked_ms = self.clock.now_ms, self.clock.wall_ms
        clock_ms = self.clock.tick(now_ms, self.lateness_ms, late_ms)
        self._tend(clock_ms)
        if self.early.active:
            self._catch_up(now_ms, marked_ms)
        if (
            clock_ms == before
            and self.clock.wall_ms == marked_ms
            and not self.unpublished.since
            and not self.purse.changed
            and not self.due.has_due(clock_ms)
            and not self.rows
        ):
            return []
        self._fire(clock_ms, self.decider.due_limit)
        self.given = [] if self.rows else None
        return self._commit(publish=True)

    def _take(self, record: Record) -> Step:
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
        # What fell due before this event is settled first, with what was known up to then.
        before_ms = ts - self.lateness_ms
        if self.early.active:
            self._answer(event.user_id, ingested_ms, before_ms)
        again = event.user_id in self.touched
        customer = self._touch(event.user_id, ts)
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
        book = customer.book
        self.touched[user_id] = (customer, book.revision)
        if book.hints and book.hints[0] <= self.fired_ms:  # when too many were due at once
            self._serve(user_id, customer, self.fired_ms)
        return customer

    def _bury(self, error: InvalidRecord, raw: bytes, record: Record) -> Step:
        letter = dead_letter(error, raw, *record[:4])
        key = "/".join(map(str, record[:3]))
        self.outputs.append(Output(topics.DEAD_LETTERS, key, encode(letter)))
        return Step("dead", error.reason, [])

    def _end(self, record: Record, step: Step) -> None:
        self.rows.append((_PLACE[record[0]], record[1], record[2], step.end, step.reason))
        self.decider.counters[step.end] += 1
        if step.emits:
            self._publish(step.emits)

    def _customer_of(self, record: Record) -> str | None:
        """Whose an outcome is; None of a broken one, or of another shard's."""
        try:
            user_id = decode_outcome(record[4].encode("latin-1")).user_id
            self.decider.customer(self.name, user_id, self.store)
        except InvalidRecord:
            return None
        return user_id

    def _answer(self, user_id: str, came_ms: int, due_ms: int) -> None:
        """Take the customer's outcomes that Kafka took in before a moment.

        What falls due before ``due_ms`` and before an outcome comes before it.
        """
        for record in self.early.take(user_id, came_ms):
            outcome = decode_outcome(record[4].encode("latin-1"))
            ts = min(due_ms, instant_ms(outcome.ts))
            customer = self._touch(user_id, ts)
            self._publish(on_due(user_id, customer, ts, self.world, self.purse))
            self._end(record, self._take(record))

    def _catch_up(self, now_ms: int, marked_ms: int) -> None:
        """While the shard is behind outcomes wait; then none does."""
        early = self.early
        early.ends_ms = early.ends_ms or now_ms + LONGEST_MS
        if self.clock.is_behind and now_ms < early.ends_ms:
            self.clock.wall_ms = marked_ms  # what waits is read ahead again after a crash
            return
        for user_id in early.users():
            self._answer(user_id, now_ms + LONGEST_MS, 0)
        early.active = False

    def _fire(self, clock_ms: int, most: int) -> None:
        """Do what is due, a wait too that this very batch began.

        When the night ends all that it held up is due at one moment. Then no more customers are
        served than ``most``, so that events need not wait for them; the rest follows.
        """
        for user_id, (customer, _) in self.touched.items():
            self._note_wake(user_id, customer)
        limited = self.decider.due_limit and not self.early.active
        for user_id in self.due.pop_due(clock_ms, most if limited else 0):
            known = self.touched.get(user_id)
            customer = known[0] if known else self.decider.customer(self.name, user_id, self.store)
            if not customer.book.hints or customer.book.hints[0] > clock_ms:
                continue  # it was served meanwhile
            customer = self._touch(user_id, clock_ms)
            if self.early.active:
                self._answer(user_id, self.clock.read_to_ms, clock_ms)
            self._serve(user_id, customer, clock_ms)
            self._note_wake(user_id, customer)

    def _serve(self, user_id: str, customer: Customer, clock_ms: int) -> None:
        book = customer.book
        book.hints = [hint for hint in book.hints if hint > clock_ms]
        self._publish(on_due(user_id, customer, clock_ms, self.world, self.purse))

    def _note_wake(self, user_id: str, customer: Customer) -> None:
        wake_ms, hints = customer.book.wake_at_ms(), customer.book.hints
        if wake_ms is not None and (not hints or wake_ms < hints[0]):
            hints.insert(0, wake_ms)
            self.due.add(user_id, wake_ms)

    def _tend(self, now_ms: int) -> None:
        self.purse.tend(now_ms, self.world.metered, self.world.policy)

    def _publish(self, emits: list[Emit]) -> None:
        counters = self.decider.counters
        for topic, key, record in emits:
            counters[topic] += 1
            value = encode(record)
            self.outputs.append(Output(topic, key, value))
            if isinstance(record, Example):
                self.outputs.append(Output(names.EXPOSED, record.campaign_id, value))

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
        profile = Profile(user_id, newest_ms, revision, since, data)
        self.outputs.append(Output(topics.PROFILES, user_id, encode(profile)))

    def _commit(self, *, publish: bool = False) -> list[Output]:
        number = self._audit()
        dirty: dict[str, bytes | None] = {}
        unpublished = self.unpublished
        changed, stored = unpublished.since, self.stored
        for user_id, (customer, since) in self.touched.items():
            book = customer.book
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
                self.outputs.append(Output(names.ASKS, ask.campaign_id, encode(ask)))
        heard = self.early.heard()
        dirty[SHARD_KEY] = _encode_shard((self.clock.encode(), unpublished.chunks, heard, number))
        self.store.put_all(dirty)
        return self.outputs

    def _audit(self) -> int:
        """Tell of this step all that it takes to go it again; returns its number."""
        steps = self.steps
        steps.number += 1
        audit = Outcomes(
            self.name,
            _INPUTS,
            self.rows,
            number=steps.number,
            heard=self.decider.heard,
            ticks=steps.ticks,
            given=self.given,
            taken_up=steps.taken_up,
        )
        self.outputs.append(Output(topics.AUDIT, self.name, encode(audit)))
        steps.ticks, steps.taken_up = [], None
        return steps.number
