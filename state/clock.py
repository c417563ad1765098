"""The event clock of a shard: up to when everything that will come has come."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct, field

IDLE_MS: Final = 30_000
LIVE_LAG_MS: Final = 300_000
TICK_GRACE_MS: Final = 2_000
MARK_MS: Final = 1_000
"""How finely the wall clock is remembered."""
FRESH_MS: Final = 5_000
QUIET_MS: Final = 10_000

_RESUMED: Final = 1 << 62

_encode: Final = msgspec.msgpack.Encoder().encode


class ShardClock(Struct, array_like=True):
    """Newest event time seen from each Kafka partition, and the clock that follows from them.

    The clock is the least of the partitions' newest times: while a backlog drains, one partition
    runs ahead of another, and the one behind may still hold a customer's purchase. A partition
    that has been read to its end, and that the broker has had nothing for in `IDLE_MS` (by the
    records' own Kafka times, so that a replay sees the same), holds nothing up. An event dated
    after its Kafka time moves the clock to its Kafka time only, so one producer's wrong clock
    cannot drag a shard forward.

    A partition is at its end when its last record was read within `FRESH_MS` of its Kafka time, or
    `QUIET_MS` ago. That keeps a shard that has a backlog to read, as after a crash, from taking
    what it has not read yet for silence. Without ticks nobody is waited for.

    ``partitions`` has the newest event time, the newest Kafka time, and from when on by the wall
    clock it counts as read to its end. ``wall_ms`` is the wall clock's time at a tick before the
    shard was saved, by the workers' clock and no producer's: what is published later than that may
    be unknown to it.
    """

    partitions: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    ingested_ms: int = 0
    now_ms: int = 0
    live: bool = False
    wall_ms: int = 0

    def observe(self, partition: int, ts: int, ingested_ms: int) -> None:
        """Take note of an event's time and of when Kafka took it in."""
        if ts > ingested_ms:
            ts = ingested_ms
        wall_ms = self.wall_ms
        ends_ms = 0 if wall_ms - ingested_ms < FRESH_MS else wall_ms + QUIET_MS
        newest_ms = ts
        seen = self.partitions.get(partition)
        if seen is not None:
            if seen[0] > ts:
                newest_ms = seen[0]
            if seen[2] == _RESUMED:  # until a tick tells the time, nobody knows what is fresh
                ends_ms = _RESUMED
        self.partitions[partition] = (newest_ms, ingested_ms, ends_ms)
        if ingested_ms > self.ingested_ms:
            self.ingested_ms = ingested_ms
        self.live = ingested_ms - ts < LIVE_LAG_MS

    def advance(self, lateness_ms: int) -> int:
        """Move the clock to where the partitions allow, never back; returns it."""
        held, wall_ms = self.ingested_ms - IDLE_MS, self.wall_ms
        slowest = min(
            (
                newest
                for newest, ingested, ends_ms in self.partitions.values()
                if ingested >= held or ends_ms > wall_ms
            ),
            default=0,
        )
        if slowest - lateness_ms > self.now_ms:
            self.now_ms = slowest - lateness_ms
        return self.now_ms

    def tick(self, wall_ms: int, lateness_ms: int) -> int:
        """Let the wall clock move a shard that has read all, if its events are of today.

        Returns the clock.
        """
        if wall_ms >= self.wall_ms + MARK_MS:
            self.wall_ms = wall_ms
        if (
            self._read_to_the_end(wall_ms)
            and self.live
            and wall_ms - TICK_GRACE_MS - lateness_ms > self.now_ms
        ):
            self.now_ms = wall_ms - TICK_GRACE_MS - lateness_ms
        return self.now_ms

    def _read_to_the_end(self, wall_ms: int) -> bool:
        at_end = True
        for partition, (newest, ingested, ends_ms) in self.partitions.items():
            if ends_ms == _RESUMED:
                self.partitions[partition] = (newest, ingested, wall_ms + QUIET_MS)
            if ends_ms > wall_ms:
                at_end = False
        return at_end

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        return _encode(self)

    @classmethod
    def decode(cls, data: bytes) -> ShardClock:
        """Read what `encode` wrote."""
        return _decode(data)

    def resumed(self) -> None:
        """Forget how far the partitions were read: a backlog may have gathered since."""
        for partition, (newest, ingested, _) in self.partitions.items():
            self.partitions[partition] = (newest, ingested, _RESUMED)


_decode: Final = msgspec.msgpack.Decoder(ShardClock).decode
