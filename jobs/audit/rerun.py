"""Decide again what was decided, and compare: the digest of a recorded span of time.

The stream tells of each step of a shard what it hung on (`schemas.audit.Outcomes`): which inputs,
in which order, at which ticks of the clock, and up to where the control topic was in force. A
rerun takes the same steps through `operators.shard.Decider`, and goes back where the stream went
back to a checkpoint. Nothing is published, no state but this run's own is touched and nothing is
sent.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct, field

from jobs.audit.recorded import Entry, Input, Made, Step, newest
from operators.records import Output, Record
from operators.sealing import leases_in
from operators.shard import (
    SEPARATOR,
    Decider,
    DeciderConfig,
    MemoryStore,
    in_order_as_they_come,
)
from schemas.audit import Outcomes, TakenUp
from schemas.decision import Decision
from schemas.topics import DECISIONS, OUTCOMES
from schemas.wire import encode

MOST_TOLD: Final = 20
_read: Final = msgspec.json.Decoder(Decision).decode

Place = tuple[str, int, int]
"""Topic, partition, offset."""


class Rerun(Struct):
    """What a rerun found of the decisions that were published in a span of time.

    ``differing`` have other contents, by id with the fields that differ; ``missing`` were not made
    again, and ``added`` were made though nothing was published. ``lost`` counts the steps whose
    audit, or the inputs, Kafka no longer has: what came of them cannot be told.
    """

    inputs: int = 0
    decisions: int = 0
    equal: int = 0
    digest_recorded: str = ""
    digest_rerun: str = ""
    differing: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    lost: int = 0

    @property
    def digest_equal(self) -> bool:
        """Whether the same was decided, byte for byte."""
        return self.digest_recorded == self.digest_rerun


class Recorded(Struct):
    """All that a shard's steps are taken again from; ``ends`` are the offsets of ``log``."""

    inputs: dict[Place, Input]
    outcomes: list[Record]
    log: list[Entry]
    ends: list[int]
    made: dict[str, Decision]


def digest(decisions: Iterable[Decision]) -> str:
    """SHA-256 over decisions by id."""
    found = hashlib.sha256()
    for each in sorted(decisions, key=lambda each: each.decision_id):
        found.update(encode(each) + b"\n")
    return found.hexdigest()


def rerun(
    steps: Iterable[Step],
    inputs: Iterable[Input],
    log: Sequence[Entry],
    made: Iterable[Made],
    from_ms: int,
    to_ms: int,
    config: DeciderConfig,
) -> Rerun:
    """Decide again; compare what was published from ``from_ms`` until before ``to_ms``.

    Steps and inputs begin where the stream began, or the customers' state is not what it was.
    Inputs and decisions may come in any order, steps in that of each shard, the log in its own.
    ``config`` is the stream's.
    """
    at = {(each.topic, each.partition, each.offset): each for each in inputs}
    published: dict[str, Made] = {}
    for each in sorted(made, key=lambda each: each.came_ms):
        published.setdefault(each.decision.decision_id, each)
    recorded = Recorded(
        at,
        sorted(_record(each) for each in at.values() if each.topic == OUTCOMES),
        list(log),
        [entry.offset for entry in log],
        {name: each.decision for name, each in published.items()},
    )
    by_shard: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        by_shard[step.told.shard].append(step)
    result = Rerun(inputs=len(at))
    again: dict[str, Decision] = {}
    span: set[str] = set()
    for shard in sorted(by_shard):
        walk = _Walk(shard, recorded, config)
        walk.run(by_shard[shard])
        result.lost += walk.lost
        for moment_ms, decision in walk.found:
            name = decision.decision_id
            # Of what came before and after a crash, that which was published.
            if name not in again or decision == recorded.made.get(name):
                again[name] = decision
            if from_ms <= moment_ms < to_ms:
                span.add(name)
    wanted = {
        name: each.decision for name, each in published.items() if from_ms <= each.came_ms < to_ms
    }
    return _compared(result, wanted, again, span - published.keys())


def _compared(
    result: Rerun, wanted: Mapping[str, Decision], again: Mapping[str, Decision], added: set[str]
) -> Rerun:
    for name, decision in sorted(wanted.items()):
        other = again.get(name)
        if other is None:
            result.missing.append(name)
        elif other == decision:
            result.equal += 1
        else:
            result.differing[name] = [
                each
                for each in Decision.__struct_fields__
                if getattr(other, each) != getattr(decision, each)
            ]
    made_again = [again[name] for name in wanted.keys() & again.keys()]
    result.decisions = len(wanted)
    result.digest_recorded = digest(wanted.values())
    result.digest_rerun = digest([*made_again, *(again[name] for name in added)])
    result.added = sorted(added)
    return result


class _Walk:
    """One shard's steps, taken again.

    ``found`` is what it decided, and when; ``lost`` counts the steps that cannot be taken.
    """

    def __init__(self, shard: str, recorded: Recorded, config: DeciderConfig) -> None:
        self.found: list[tuple[int, Decision]] = []
        self.lost = 0
        self._shard = shard
        self._recorded = recorded
        self._config = config
        self._store = MemoryStore()
        self._decider = Decider(config)
        self._heard = 0

    def run(self, steps: Sequence[Step]) -> None:
        """Take all steps."""
        saved = dict.fromkeys(_checkpoints(steps))
        saved[0] = MemoryStore()
        number = 0
        for came_ms, told in steps:
            if told.taken_up is not None:
                number = min(number, told.number - 1)
                self._take_up(told.taken_up, told.heard, saved.get(number))
            self.lost += max(0, told.number - number - 1)
            self._go(came_ms, told)
            number = told.number
            if number in saved:
                saved[number] = MemoryStore(self._store)

    def _take_up(self, how: TakenUp, heard: int, saved: MemoryStore | None) -> None:
        """Begin from what was saved, as the stream did when it started or after a crash.

        What was decided and not published then died with what decided it.
        """
        made = self._recorded.made
        self._store = MemoryStore(self._store if saved is None else saved)
        self.found = [each for each in self.found if made.get(each[1].decision_id) == each[1]]
        standing = [each for _, each in self.found]
        log = self._recorded.log
        self._heard = self._until(heard)
        self._decider = Decider(
            self._config,
            newest(log[: self._heard]).items(),
            lambda _saved_ms: standing,
            leases_in(_values(log[: self._until(how.submitted)])),
            in_order_as_they_come if how.unread is None else lambda _saved_ms: self._ahead(how),
        )
        for lease in leases_in(_values(log[: self._until(how.lent)])).values():
            self._decider.world.leases.accept(lease)

    def _ahead(self, how: TakenUp) -> list[Record]:
        """The outcomes that lay unread."""
        spans = how.unread or {}
        return [
            each
            for each in self._recorded.outcomes
            if each[1] in spans and spans[each[1]][0] <= each[2] < spans[each[1]][1]
        ]

    def _go(self, came_ms: int, told: Outcomes) -> None:
        """Take a step, under what was in force then."""
        until = self._until(told.heard)
        for entry in self._recorded.log[self._heard : until]:
            self._decider.on_control(entry.key, entry.value)
        self._heard = max(self._heard, until)
        decider, shard, store = self._decider, self._shard, self._store
        for now_ms, late_ms in told.ticks:
            self._hear(came_ms, decider.on_tick(shard, store, now_ms, late_ms))
        given = told.given if told.given is not None else [row[:3] for row in told.rows]
        known = self._recorded.inputs
        places = [(told.topics[topic], partition, offset) for topic, partition, offset in given]
        if any(place not in known for place in places):
            self.lost += 1
            return
        if places:
            records = [_text(known[place]) for place in places]
            self._hear(came_ms, decider.on_batch(shard, store, records))

    def _until(self, offset: int) -> int:
        """How many entries of the log there were up to an offset of its topic."""
        return bisect_right(self._recorded.ends, offset)

    def _hear(self, moment_ms: int, outputs: Iterable[Output]) -> None:
        for output in outputs:
            topic, _, value = output
            if topic == DECISIONS:
                self.found.append((moment_ms, _read(value)))


def _checkpoints(steps: Iterable[Step]) -> Iterator[int]:
    """The numbers of the steps that a shard was taken up from."""
    return (each.told.number - 1 for each in steps if each.told.taken_up is not None)


def _values(entries: Iterable[Entry]) -> Iterator[tuple[str, bytes]]:
    return ((entry.key, entry.value) for entry in entries if entry.value is not None)


def _record(each: Input) -> Record:
    place = each.topic, each.partition, each.offset
    return *place, each.came_ms, each.payload.decode("latin-1")


def _text(each: Input) -> str:
    return SEPARATOR.join(map(str, _record(each)))
