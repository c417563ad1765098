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

_encode: Final = msgspec.msgpack.Encoder().encode


class ShardClock(Struct, array_like=True):
    """Newest event time seen from each Kafka partition, and the clock that follows from them.

    The clock is the least of the partitions' newest times: while a backlog drains, one partition
    runs ahead of another, and the one behind may still hold a customer's purchase. A partition
    that the broker has had nothing for in `IDLE_MS` (by the records' own Kafka times, so that a
    replay sees the same) holds nothing up. An event dated after its Kafka time moves the clock to
    its Kafka time only, so one producer's wrong clock cannot drag a shard forward.

    ``wall_ms`` is the wall clock's time at a tick before the shard was saved, by the workers' clock
    and no producer's: what is published later than that may be unknown to it.
    """

    partitions: dict[int, tuple[int, int]] = field(default_factory=dict)
    ingested_ms: int = 0
    now_ms: int = 0
    live: bool = False
    wall_ms: int = 0

    def observe(self, partition: int, ts: int, ingested_ms: int) -> None:
        """Take note of an event's time and of when Kafka took it in."""
        if ts > ingested_ms:
            ts = ingested_ms
        seen = self.partitions.get(partition)
        self.partitions[partition] = (
            (ts, ingested_ms) if seen is None or ts > seen[0] else (seen[0], ingested_ms)
        )
        if ingested_ms > self.ingested_ms:
            self.ingested_ms = ingested_ms
        self.live = ingested_ms - ts < LIVE_LAG_MS

    def advance(self, lateness_ms: int) -> int:
        """Move the clock to where the partitions allow, never back; returns it."""
        held = self.ingested_ms - IDLE_MS
        slowest = min(
            (newest for newest, ingested in self.partitions.values() if ingested >= held),
            default=0,
        )
        if slowest - lateness_ms > self.now_ms:
            self.now_ms = slowest - lateness_ms
        return self.now_ms

    def tick(self, wall_ms: int, lateness_ms: int) -> int:
        """Let the wall clock move an idle shard, if its events are of today; returns the clock."""
        if wall_ms >= self.wall_ms + MARK_MS:
            self.wall_ms = wall_ms
        if self.live and wall_ms - TICK_GRACE_MS - lateness_ms > self.now_ms:
            self.now_ms = wall_ms - TICK_GRACE_MS - lateness_ms
        return self.now_ms

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        return _encode(self)

    @classmethod
    def decode(cls, data: bytes) -> ShardClock:
        """Read what `encode` wrote."""
        return _decode(data)


_decode: Final = msgspec.msgpack.Decoder(ShardClock).decode
