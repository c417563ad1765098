"""The due list of a shard: when to look at which customer again.

Entries are hints. A customer's own book says what is due, so a hint may come early or twice
without harm, and nothing has to be taken out when a wait is cancelled. That allows the cheapest
form that survives a restart: entries are appended to small chunks, filed by the hour in which
they fall due, and a whole hour's chunks are dropped when it has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

import msgspec

from state.chunk import Chunk

BUCKET_MS: Final = 3_600_000
CHUNK_ENTRIES: Final = 64

_INDEX: Final = "\x00due"
_NEVER: Final = 1 << 62
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_index: Final = msgspec.msgpack.Decoder(dict[int, int]).decode
_decode_chunk: Final = msgspec.msgpack.Decoder(list[tuple[int, str]]).decode


def _chunk_key(bucket: int, number: int) -> str:
    return f"{_INDEX}/{bucket}/{number}"


class DueList:
    """Hints of one shard, read through ``get`` and written through what `take_writes` returns.

    Keys start with a NUL, which no customer's id can.
    """

    def __init__(self, get: Callable[[str], bytes | None]) -> None:
        self._get = get
        index = get(_INDEX)
        self._chunks: dict[int, int] = {} if index is None else _decode_index(index)
        self._open: dict[int, Chunk] = {}
        self._heap: list[tuple[int, str]] = []
        self._loaded: set[int] = set()
        self._next = min(self._chunks, default=_NEVER)
        """The first bucket that is not loaded."""
        self._writes: dict[str, bytes | None] = {}
        self._touched: set[int] = set()
        self._index_changed = False

    def add(self, customer: str, due_ms: int) -> None:
        """Ask for ``customer`` to be returned once the clock has reached ``due_ms``."""
        bucket = due_ms // BUCKET_MS
        chunk = self._open_chunk(bucket)
        chunk.append((due_ms, customer))
        self._touched.add(bucket)
        if bucket in self._loaded:
            heappush(self._heap, (due_ms, customer))

    def pop_due(self, clock_ms: int, most: int = 0) -> list[str]:
        """The customers whose hints are not after ``clock_ms``, earliest first, each once.

        With ``most`` no more than so many; the others are due still.
        """
        current = clock_ms // BUCKET_MS
        while self._next <= current:
            self._load(self._next)
        due: dict[str, None] = {}
        heap = self._heap
        while heap and heap[0][0] <= clock_ms and (not most or len(due) < most):
            due[heappop(heap)[1]] = None
        left = heap[0][0] // BUCKET_MS if heap else current
        for bucket in [bucket for bucket in self._loaded if bucket < min(current, left)]:
            self._drop(bucket)
        return list(due)

    def take_writes(self) -> dict[str, bytes | None]:
        """What must be written for the list to survive; None deletes the key."""
        for bucket in self._touched:
            number = self._chunks[bucket] - 1
            self._writes[_chunk_key(bucket, number)] = self._open[bucket].encode()
        self._touched.clear()
        if self._index_changed:
            self._writes[_INDEX] = _encode(self._chunks)
            self._index_changed = False
        writes, self._writes = self._writes, {}
        return writes

    def has_due(self, clock_ms: int) -> bool:
        """Whether `pop_due` may return somebody."""
        current = clock_ms // BUCKET_MS
        return (bool(self._heap) and self._heap[0][0] <= clock_ms) or self._next <= current

    def _open_chunk(self, bucket: int) -> Chunk:
        chunk = self._open.get(bucket)
        if chunk is None and bucket in self._chunks:
            stored = self._get(_chunk_key(bucket, self._chunks[bucket] - 1))
            chunk = self._open[bucket] = Chunk(() if stored is None else _decode_chunk(stored))
        if chunk is None or chunk.count >= CHUNK_ENTRIES:
            if chunk is None:
                self._next = min(self._next, bucket)
            elif bucket in self._touched:
                self._writes[_chunk_key(bucket, self._chunks[bucket] - 1)] = chunk.encode()
            self._chunks[bucket] = self._chunks.get(bucket, 0) + 1
            self._index_changed = True
            chunk = self._open[bucket] = Chunk()
        return chunk

    def _load(self, bucket: int) -> None:
        for number in range(self._chunks[bucket]):
            if number == self._chunks[bucket] - 1 and bucket in self._open:
                entries = _decode_chunk(self._open[bucket].encode())
            else:
                key = _chunk_key(bucket, number)
                stored = self._writes.get(key) or self._get(key)
                entries = [] if stored is None else _decode_chunk(stored)
            for entry in entries:
                heappush(self._heap, entry)
        self._loaded.add(bucket)
        self._next = min(
            (each for each in self._chunks if each not in self._loaded), default=_NEVER
        )

    def _drop(self, bucket: int) -> None:
        for number in range(self._chunks.pop(bucket, 0)):
            self._writes[_chunk_key(bucket, number)] = None
        self._open.pop(bucket, None)
        self._touched.discard(bucket)
        self._loaded.discard(bucket)
        self._index_changed = True
