"""Decide again what was decided, and compare: the digest of a recorded span of time.

Each shard's inputs go through `operators.shard.Decider` in the micro-batches in which the stream
took them, which the audit topic tells (without that in the order of Kafka's time, one by one), and
where it crashed this run goes back to what the checkpoint had (`jobs.audit.attempts`). Each goes
under the control records that were in force at the decisions it led to (`jobs.audit.pins`).
Nothing is published, no state but this run's own is touched and nothing is sent.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from jobs.audit.attempts import Attempt, Group, Input, Place, attempts_of
from jobs.audit.moments import Moments, positions_of
from jobs.audit.pins import HEARD_MS, ControlLog
from operators.records import Output
from operators.shard import SEPARATOR, Decider, DeciderConfig, MemoryStore, shard_of
from schemas.decision import Decision
from schemas.topics import DECISIONS
from schemas.wire import encode

NEAR_MS: Final = 500
"""A decision that time led to is published so soon after the input that moved the clock."""
MOST_TOLD: Final = 20
MOST_TRIED: Final = 5
"""Positions that are tried for a decision."""
_LEARNED: Final = ("posterior/", "mix/")
_read: Final = msgspec.json.Decoder(Decision).decode


class Made(NamedTuple):
    """A decision as it was published, and the channels that were open to it, where known."""

    came_ms: int
    decision: Decision
    channels: tuple[str, ...] = ()


class Rerun(Struct):
    """What a rerun found of the decisions that were published in a span of time.

    ``differing`` have other contents, ``missing`` were not made again, and ``added`` were made
    though nothing was published; each the first few by id, with the fields that differ.
    """

    inputs: int = 0
    decisions: int = 0
    equal: int = 0
    digest_recorded: str = ""
    digest_rerun: str = ""
    differing: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)

    @property
    def digest_equal(self) -> bool:
        """Whether the same was decided, byte for byte."""
        return self.digest_recorded == self.digest_rerun


def digest(decisions: Iterable[Decision]) -> str:
    """SHA-256 over decisions by id, without which payment of a shard paid for each."""
    found = hashlib.sha256()
    for each in sorted(decisions, key=lambda each: each.decision_id):
        found.update(encode(_content(each)) + b"\n")
    return found.hexdigest()


def rerun(
    inputs: Iterable[Input],
    log: ControlLog,
    made: Iterable[Made],
    from_ms: int,
    to_ms: int,
    *,
    shards: int = 4,
    batches: Iterable[Sequence[Place]] = (),
) -> Rerun:
    """Decide again; compare what was published from ``from_ms`` until before ``to_ms``.

    ``inputs`` and ``made`` begin where the stream began, or the customers' state is not what it
    was; they may come in any order. ``batches`` are the micro-batches of every shard, each shard's
    in the order in which they were taken; of two partitions nothing else tells who was first.
    """
    by_shard: dict[str, list[Input]] = defaultdict(list)
    at: dict[Place, Input] = {}
    for each in inputs:
        if each.came_ms < to_ms:
            by_shard[shard_of(each.user_id, shards)].append(each)
            at[each.place] = each
    taken: dict[str, list[list[Input]]] = defaultdict(list)
    for batch in batches:
        if known := [at[place] for place in batch if place in at]:
            taken[shard_of(known[0].user_id, shards)].append(known)
    recorded: dict[str, Made] = {}
    made_by: dict[str, list[Made]] = defaultdict(list)
    for published in sorted(made, key=lambda each: each.came_ms):
        if recorded.setdefault(published.decision.decision_id, published) is published:
            made_by[shard_of(published.decision.user_id, shards)].append(published)
    again: dict[str, Decision] = {}
    span: set[str] = set()
    result = Rerun()
    for shard in sorted(by_shard.keys() | made_by.keys()):
        attempts = attempts_of(by_shard[shard], taken[shard])
        found = _decided(shard, log, made_by[shard], attempts, to_ms)
        result.inputs += len(by_shard[shard])
        again |= _likeliest(found, made_by[shard])
        span.update(each.decision_id for moment_ms, each in found if moment_ms >= from_ms)
    wanted = {
        name: each.decision for name, each in recorded.items() if from_ms <= each.came_ms < to_ms
    }
    return _compared(result, wanted, again, span - recorded.keys())


def _decided(
    shard: str, log: ControlLog, made: Sequence[Made], attempts: Sequence[Attempt], to_ms: int
) -> list[tuple[int, Decision]]:
    """Everything that a shard decided, and when.

    Of several positions at which a decision can have been made the likeliest is tried first. Where
    another comes out, the next is tried, as two mixes may give a channel the same share but differ
    in the others, whose cost counts in its ``value``.
    """
    places = {
        each.decision.decision_id: log.learned(each.decision, each.channels, each.came_ms)
        for each in made
    }
    tried = dict.fromkeys(places, 0)
    found: list[tuple[int, Decision]] = []
    for _ in range(MOST_TRIED):
        positions: dict[str, int] = {}
        for each in made:
            name = each.decision.decision_id
            position = places[name][tried[name]]
            positions = positions_of(each.decision, position) | positions
            positions[name] = position
        found = _Shard(shard, log, made, positions).run(attempts, to_ms)
        wrong = [name for name in _other(found, made) if tried[name] + 1 < len(places[name])]
        if not wrong:
            break
        for name in wrong:
            tried[name] += 1
    return found


def _likeliest(found: Iterable[tuple[int, Decision]], made: Iterable[Made]) -> dict[str, Decision]:
    """What was made again, by id: of what came before and after a crash, what was published."""
    published = {each.decision.decision_id: _content(each.decision) for each in made}
    again: dict[str, Decision] = {}
    for _, decision in found:
        name = decision.decision_id
        if name not in again or _content(decision) == published.get(name):
            again[name] = decision
    return again


def _other(found: Iterable[tuple[int, Decision]], made: Sequence[Made]) -> list[str]:
    """Decisions that were made again otherwise, by id."""
    again = _likeliest(found, made)
    return [
        name
        for each in made
        if (name := each.decision.decision_id) in again
        and _content(again[name]) != _content(each.decision)
    ]


def _compared(
    result: Rerun, wanted: Mapping[str, Decision], again: Mapping[str, Decision], added: set[str]
) -> Rerun:
    for name, decision in sorted(wanted.items()):
        other = again.get(name)
        if other is None:
            result.missing.append(name)
        elif _content(other) == _content(decision):
            result.equal += 1
        else:
            result.differing[name] = [
                each
                for each in Decision.__struct_fields__
                if getattr(_content(other), each) != getattr(_content(decision), each)
            ]
    made_again = [again[name] for name in wanted.keys() & again.keys()]
    result.decisions = len(wanted)
    result.digest_recorded = digest(wanted.values())
    result.digest_rerun = digest([*made_again, *(again[name] for name in added)])
    result.added = sorted(added)
    return result


def _content(decision: Decision) -> Decision:
    return replace(decision, paid_day="", paid_number=0)


class _Shard:
    """One shard's inputs again."""

    def __init__(
        self, name: str, log: ControlLog, made: Sequence[Made], positions: Mapping[str, int]
    ) -> None:
        self._name = name
        self._log = log
        self._decider = Decider(DeciderConfig(lends=True), published=self._published)
        self._moments = Moments(self._decider.world, log, positions)
        self._store = MemoryStore()
        self._position = 0
        self._found: list[tuple[int, Decision]] = []
        self._made = made
        self._next = 0
        self._pins = _pins(log, made)
        self._triggers: dict[tuple[str, str], tuple[int, int]] = {}

    def run(self, attempts: Sequence[Attempt], to_ms: int) -> list[tuple[int, Decision]]:
        """Everything that the shard decided, and when."""
        everything = [group for attempt in attempts for group in attempt.groups]
        for rank, group in enumerate(everything):
            for each in group:
                if each.event_id:
                    key = each.user_id, each.event_id
                    self._triggers.setdefault(key, (rank, each.came_ms))
        checkpoints = {attempt.since for attempt in attempts}
        saved: dict[int, MemoryStore] = {}
        rank = stands = 0
        for attempt in attempts:
            if attempt.since < stands:
                self._crash(saved[attempt.since])
            stands = attempt.since
            for group in attempt.groups:
                if stands in checkpoints:
                    saved[stands] = MemoryStore(self._store)
                self._take(rank, group)
                rank, stands = rank + 1, stands + 1
        for made in self._made[self._next :]:
            if made.came_ms < to_ms:
                self._pin()
                self._tick(made.came_ms)
        return self._found

    def _crash(self, store: MemoryStore) -> None:
        """Go back to a checkpoint; what was published since is to be made again as it was."""
        self._store = MemoryStore(store)
        self._decider.forget(self._name)

    def _published(self, _saved_ms: int) -> list[Decision]:
        """What this run has decided until now as it was published."""
        published = {each.decision.decision_id: _content(each.decision) for each in self._made}
        return [
            each for _, each in self._found if published.get(each.decision_id) == _content(each)
        ]

    def _take(self, rank: int, group: Group) -> None:
        """Let the core have a group, under what was in force then."""
        came_ms = max(each.came_ms for each in group)
        before = self._next
        while self._next < len(self._made):
            made = self._made[self._next]
            trigger = self._triggers.get((made.decision.user_id, made.decision.trigger_event_id))
            at_once = trigger is not None and made.came_ms - trigger[1] <= NEAR_MS
            if trigger is not None and at_once and trigger[0] <= rank:
                self._pin()
            elif not at_once and made.came_ms <= came_ms + NEAR_MS:
                self._pin()
                if made.came_ms < came_ms:
                    self._tick(made.came_ms)
            else:
                break
        if self._next == before:
            self._advance(min(self._log.at(came_ms - NEAR_MS), self._pins[before]))
        self._moments.now = self._log.at(came_ms - HEARD_MS)
        records = [_record(each) for each in group]
        self._hear(came_ms, self._decider.on_batch(self._name, self._store, records))

    def _pin(self) -> None:
        """Put in force what was at the next decision that was published."""
        self._advance(self._pins[self._next])
        self._next += 1

    def _advance(self, position: int) -> None:
        for entry in self._log.entries[self._position : position]:
            if not entry.key.startswith(_LEARNED):  # which is looked up
                self._decider.on_control(entry.key, entry.value)
        self._position = max(self._position, position)

    def _tick(self, now_ms: int) -> None:
        self._moments.now = self._log.at(now_ms)
        self._hear(now_ms, self._decider.on_tick(self._name, self._store, now_ms))

    def _hear(self, moment_ms: int, outputs: Iterable[Output]) -> None:
        for output in outputs:
            topic, _, value = output
            if topic == DECISIONS:
                self._found.append((moment_ms, _read(value)))


def _record(each: Input) -> str:
    head = SEPARATOR.join((each.topic, str(each.partition), str(each.offset), str(each.came_ms)))
    return f"{head}{SEPARATOR}{each.payload.decode('latin-1')}"


def _pins(log: ControlLog, made: Sequence[Made]) -> list[int]:
    """Up to where the log ruled at each decision of a shard, and the log's end.

    What is in force only moves on: none was made later than every one that follows it allows.
    """
    most = [len(log.entries)]
    for each in reversed(made):
        most.append(min(most[-1], log.ruled(each.decision)[1]))
    most.reverse()
    pins: list[int] = []
    position = 0
    for each, latest in zip(made, most, strict=False):
        latest = max(position, latest)
        position = max(position, log.ruling(each.decision, each.came_ms, position, latest))
        pins.append(position)
    return [*pins, len(log.entries)]
