"""In which order a shard took its inputs, through crashes: from the audit topic.

A crash takes a shard's state back to a checkpoint, and what it took since it takes again, in other
micro-batches and perhaps in another order. Both are audited. A decision that was published before
the crash was made in the first order, and one after it in the second, so a rerun goes through both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

Place = tuple[str, int, int]
"""Topic, partition, offset."""


class Input(NamedTuple):
    """An event or an outcome as Kafka has it; ``event_id`` is empty for an outcome."""

    came_ms: int
    topic: str
    partition: int
    offset: int
    user_id: str
    event_id: str
    payload: bytes

    @property
    def place(self) -> Place:
        """Where Kafka has it."""
        return self.topic, self.partition, self.offset


Group = list[Input]
"""What the core took together, in the order of topic, partition and offset."""


class Attempt(NamedTuple):
    """What a shard took from a checkpoint until a crash, or until the record ends.

    ``since`` is how many of the groups that stood before were in the checkpoint; the others were
    lost, and all of their inputs are in ``groups`` again.
    """

    since: int
    groups: list[Group]


def attempts_of(inputs: Iterable[Input], batches: Iterable[Sequence[Input]]) -> list[Attempt]:
    """A shard's inputs as it took them.

    ``batches`` are its micro-batches in the order in which they were audited; inputs that are in
    none of them follow one by one.
    """
    found: list[Attempt] = []
    line: list[Group] = []
    for taken in _between_crashes(batches):
        again = {each.place for batch in taken for each in batch}
        since = next(
            (n for n, group in enumerate(line) if any(each.place in again for each in group)),
            len(line),
        )
        # Taken after the crash, but before anything that shows that there was one.
        first = [
            left
            for group in line[since:]
            if (left := [each for each in group if each.place not in again])
        ]
        groups = [*first, *(group for batch in taken for group in _cut(batch))]
        found.append(Attempt(since, groups))
        line[since:] = groups
    known = {each.place for group in line for each in group}
    rest = [[each] for each in sorted(inputs, key=_by_time) if each.place not in known]
    return [*found, Attempt(len(line), rest)] if rest else found


def _between_crashes(batches: Iterable[Sequence[Input]]) -> Iterator[list[Sequence[Input]]]:
    """The batches of one attempt after another: in none of them is an input taken twice."""
    taken: list[Sequence[Input]] = []
    places: set[Place] = set()
    for batch in batches:
        if any(each.place in places for each in batch):
            yield taken
            taken, places = [], set()
        taken.append(batch)
        places.update(each.place for each in batch)
    if taken:
        yield taken


def _cut(batch: Iterable[Input]) -> Iterator[Group]:
    """A batch, cut where its rows are not in the order in which the core takes a batch.

    So it is with outcomes after a crash, which wait for their place (`operators.early`).
    """
    group: Group = []
    for each in batch:
        if group and each.place < group[-1].place:
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _by_time(each: Input) -> tuple[int, str, int, int]:
    return each.came_ms, each.topic, each.partition, each.offset
