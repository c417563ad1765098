"""Outcomes after a restart: each in its place, though the topics are read in any order.

State goes back to a checkpoint, and what the topics got since is read again, beside what has come
meanwhile. Of an event and an outcome nobody knows which is read first this time. Yet who has opted
out must get nothing more; an outcome may answer a decision that is still to be made again; and an
outcome of today would make all of a backlog's events late. So a shard that was taken up reads ahead
which outcomes lie unread, and until it has caught up takes each in the place among its customer's
events that Kafka's time gives it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from operators.records import Record

LONGEST_MS: Final = 600_000
"""A shard that is still behind after so long takes outcomes as they come again."""

Place = tuple[int, int]
"""Partition and offset, on the topic of outcomes."""


class Heard(Struct, array_like=True):
    """Which outcomes a shard has had, as it is saved.

    Delivered are those before the offsets in ``until``, by partition. Of these ``waiting`` were not
    taken yet; of later ones ``told`` were.
    """

    until: dict[int, int] = field(default_factory=dict)
    waiting: list[Place] = field(default_factory=list)
    told: list[Place] = field(default_factory=list)


class Early:
    """The outcomes of one shard that wait for their place, by customer."""

    __slots__ = ("_delivered", "_places", "_told", "_until", "_waiting", "active", "ends_ms")

    def __init__(self, heard: Heard) -> None:
        self.active = False
        self.ends_ms = 0
        self._until = heard.until
        self._delivered = set(heard.waiting)
        self._told = set(heard.told)
        self._waiting: dict[str, list[tuple[int, int, int, Record]]] = {}
        self._places: set[Place] = set()

    def begin(self, unread: Iterable[tuple[str, Record]]) -> None:
        """From now on outcomes wait; these, with their customers, were published of late."""
        self.active = True
        for user_id, record in unread:
            place = record[1], record[2]
            fresh = record[2] >= self._until.get(record[1], 0) and place not in self._told
            if fresh or place in self._delivered:
                self._add(user_id, record)

    def deliver(self, record: Record, user_id: str | None) -> bool:
        """Take note of an outcome that the stream has delivered, of a customer if that is known.

        Returns whether it waits, or was taken in its place before.
        """
        place = record[1], record[2]
        self._until[record[1]] = record[2] + 1
        if place in self._told:
            self._told.discard(place)
            return True
        if not self.active or user_id is None:
            return False
        self._delivered.add(place)
        if place not in self._places:
            self._add(user_id, record)
        return True

    def take(self, user_id: str, before_ms: int) -> list[Record]:
        """The customer's outcomes that Kafka took in before a moment; oldest first."""
        mine = self._waiting.get(user_id)
        if mine is None or mine[0][0] >= before_ms:
            return []
        taken = [record for came_ms, _, _, record in mine if came_ms < before_ms]
        left = mine[len(taken) :]
        if left:
            self._waiting[user_id] = left
        else:
            del self._waiting[user_id]
        for _, partition, offset, _, _ in taken:
            place = partition, offset
            self._places.discard(place)
            if place in self._delivered:
                self._delivered.discard(place)
            else:
                self._told.add(place)
        return taken

    def users(self) -> list[str]:
        """The customers who have outcomes waiting."""
        return list(self._waiting)

    def heard(self) -> Heard:
        """What to save."""
        return Heard(self._until, list(self._delivered), list(self._told))

    def _add(self, user_id: str, record: Record) -> None:
        _, partition, offset, came_ms, _ = record
        self._places.add((partition, offset))
        insort(self._waiting.setdefault(user_id, []), (came_ms, partition, offset, record))
