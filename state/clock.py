"""The event clock of a shard: up to when everything that will come has come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct, field

IDLE_MS: Final = 30_000
LIVE_LAG_MS: Final = 300_000
TICK_GRACE_MS: Final = 2_000
"""How old a record may be when it is read and the shard still count as having read all; by so much
the wall clock's time is cut, so that a record as old as that is never passed."""
MARK_MS: Final = 1_000
"""How finely the wall clock is remembered."""
QUIET_MS: Final = 10_000
PATIENCE_MS: Final = 60_000
STALL_MS: Final = 1_000

_RESUMED: Final = 1 << 62

_encode: Final = msgspec.msgpack.Encoder().encode


class ShardClock(Struct, array_like=True):
    """Newest event time seen from each Kafka partition, and the clock that follows from them.

    The clock is the least of the partitions' newest times: while a backlog drains, one partition
    runs ahead of another, and the one behind may still hold a customer's purchase. A partition
    that the broker has had nothing for in `IDLE_MS` (by the records' own Kafka times, so that a
    replay sees the same) holds nothing up, unless the shard is behind. An event dated after its
    Kafka time moves the clock to its Kafka time only, so one producer's wrong clock cannot drag a
    shard forward.

    A shard is behind once it has read what is older than `TICK_GRACE_MS`, for as long again as that
    was old (`QUIET_MS` at most); for `QUIET_MS` after it was taken up; and for as long as its
    worker stood still. Then silence may be a backlog that is not read yet. So a partition is waited
    for until it is read and something young comes of it, or nothing at all in `PATIENCE_MS`, and
    the wall clock moves nothing before. Without ticks there is no wall clock: nobody is behind.

    ``partitions`` has the newest event time, the newest Kafka time, and the wall clock's time when
    it was last read. ``wall_ms`` is the wall clock's time at a tick before the shard was saved, by
    the workers' clock and no producer's: what is published later than that may be unknown to it.
    ``ticked_ms`` is the last tick. The shard is behind since ``fell_ms`` until ``behind_ms``, and
    at ``since_ms`` it last saw a sign of it.
    """

    partitions: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    ingested_ms: int = 0
    now_ms: int = 0
    live: bool = False
    wall_ms: int = 0
    ticked_ms: int = 0
    fell_ms: int = 0
    since_ms: int = 0
    behind_ms: int = 0

    def observe(self, partition: int, ts: int, ingested_ms: int) -> None:
        """Take note of an event's time and of when Kafka took it in."""
        if ts > ingested_ms:
            ts = ingested_ms
        ticked_ms = self.ticked_ms
        age_ms = ticked_ms - ingested_ms
        if age_ms > TICK_GRACE_MS:
            if self.behind_ms <= ticked_ms:
                self.fell_ms = ticked_ms
            self._fall_behind(ticked_ms, age_ms)
        seen = self.partitions.get(partition)
        newest_ms = seen[0] if seen is not None and seen[0] > ts else ts
        self.partitions[partition] = (newest_ms, ingested_ms, ticked_ms)
        if ingested_ms > self.ingested_ms:
            self.ingested_ms = ingested_ms
        self.live = ingested_ms - ts < LIVE_LAG_MS

    def advance(self, lateness_ms: int) -> int:
        """Move the clock to where the partitions allow, never back; returns it."""
        slowest = min((seen[0] for seen in self._waited_for()), default=0)
        if slowest - lateness_ms > self.now_ms:
            self.now_ms = slowest - lateness_ms
        return self.now_ms

    def tick(self, wall_ms: int, lateness_ms: int, late_ms: int = 0) -> int:
        """Let the wall clock move a shard that has read all, if its events are of today.

        ``late_ms`` is by how much the tick is late itself, so how long the worker stood still.
        Returns the clock.
        """
        if self.behind_ms == _RESUMED:
            self.fell_ms = self.since_ms = wall_ms
            self.behind_ms = wall_ms + QUIET_MS
        if late_ms > STALL_MS:
            self.fell_ms = wall_ms
            self._fall_behind(wall_ms, late_ms)
        self.ticked_ms = wall_ms
        if wall_ms >= self.wall_ms + MARK_MS:
            self.wall_ms = wall_ms
        if self.behind_ms > wall_ms and any(map(self._awaits, self.partitions.values())):
            return self.now_ms
        moved_ms = wall_ms - TICK_GRACE_MS - lateness_ms
        if self.live and moved_ms > self.now_ms:
            self.now_ms = moved_ms
        return self.advance(lateness_ms)

    @property
    def read_to_ms(self) -> int:
        """Up to which Kafka time all partitions have been read that hold the clock."""
        return min((seen[1] for seen in self._waited_for()), default=0)

    @property
    def is_behind(self) -> bool:
        """Whether there may be records that it has not read yet."""
        return self.behind_ms > self.ticked_ms

    def _waited_for(self) -> Iterator[tuple[int, int, int]]:
        """The partitions that hold the clock: those not silent, and what may be a backlog."""
        held_ms, behind = self.ingested_ms - IDLE_MS, self.is_behind
        for seen in self.partitions.values():
            if seen[1] >= held_ms or (behind and self._awaits(seen)):
                yield seen

    def _awaits(self, seen: tuple[int, int, int]) -> bool:
        """Whether a partition of a shard that is behind may hold what is not read yet."""
        _, ingested_ms, read_ms = seen
        young = read_ms >= self.since_ms and read_ms - ingested_ms <= TICK_GRACE_MS
        return not young and max(read_ms, self.fell_ms) > self.ticked_ms - PATIENCE_MS

    def _fall_behind(self, wall_ms: int, age_ms: int) -> None:
        if wall_ms > self.since_ms:
            self.since_ms = wall_ms
        until_ms = wall_ms + (age_ms if age_ms < QUIET_MS else QUIET_MS)
        if until_ms > self.behind_ms:
            self.behind_ms = until_ms

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        return _encode(self)

    @classmethod
    def decode(cls, data: bytes) -> ShardClock:
        """Read what `encode` wrote."""
        return _decode(data)

    def resumed(self, partitions: int = 0) -> None:
        """Nobody knows how far the partitions were read: a backlog may have gathered since.

        That holds for all of them, of which there are as many as ``partitions`` says, whether the
        shard has read any or not.
        """
        self.fell_ms = self.since_ms = self.behind_ms = _RESUMED
        for partition in range(partitions):
            self.partitions.setdefault(partition, (0, 0, 0))


_decode: Final = msgspec.msgpack.Decoder(ShardClock).decode
