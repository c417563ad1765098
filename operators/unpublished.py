"""Whose published profile is older than their state, in a shard.

A batch adds a few names to as many as a thousand that wait for the tick, and must save them. So
what changed is appended to small chunks, and a batch writes the last of them only. Once all is
published the chunks count for nothing, and the next ones overwrite them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from state.chunk import Chunk

CHUNK_ENTRIES: Final = 64

_PUBLISHED: Final = -1
_decode: Final = msgspec.msgpack.Decoder(list[tuple[str, int]]).decode


class Unpublished:
    """Customers and the revision of each that was published last.

    Read through ``get``, where ``chunks`` says how many there are; written through what
    `take_writes` returns. Keys start with a NUL, which no customer's id can.
    """

    __slots__ = ("_changed", "_open", "_writes", "chunks", "since")

    def __init__(self, get: Callable[[str], bytes | None], chunks: int = 0) -> None:
        self.chunks = chunks
        self.since: dict[str, int] = {}
        self._open = Chunk()
        self._changed = False
        self._writes: dict[str, bytes] = {}
        for number in range(chunks):
            stored = get(_key(number))
            entries = [] if stored is None else _decode(stored)
            self._open = Chunk(entries)
            for customer, since in entries:
                if since == _PUBLISHED:
                    self.since.pop(customer, None)
                else:
                    self.since[customer] = since

    def note(self, customer: str, since: int) -> None:
        """A customer has changed; ``since`` is of the first change that is not published."""
        if customer not in self.since:
            self.since[customer] = since
            self._append(customer, since)

    def pop(self, customer: str) -> int | None:
        """The revision that was published, of a customer who waits no longer."""
        since = self.since.pop(customer, None)
        if since is not None:
            self._append(customer, _PUBLISHED)
        return since

    def clear(self) -> None:
        """All have been published."""
        self.since.clear()
        self.chunks = 0
        self._open = Chunk()
        self._changed = False
        self._writes = {}

    def take_writes(self) -> dict[str, bytes]:
        """What must be written, with the number of chunks, for it to survive."""
        if self._changed:
            self._writes[_key(self.chunks - 1)] = self._open.encode()
            self._changed = False
        writes, self._writes = self._writes, {}
        return writes

    def _append(self, customer: str, since: int) -> None:
        if not self.chunks or self._open.count >= CHUNK_ENTRIES:
            if self._changed:
                self._writes[_key(self.chunks - 1)] = self._open.encode()
            self._open = Chunk()
            self.chunks += 1
        self._open.append((customer, since))
        self._changed = True


def _key(number: int) -> str:
    return f"\x00unpublished/{number}"
