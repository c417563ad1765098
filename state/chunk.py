"""A short list that grows at its end and is written again each time: nothing is encoded twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

_encode_into: Final = msgspec.msgpack.Encoder().encode_into
_AT_END: Final = -1
_SHORT: Final = 16  # MessagePack arrays of fewer have a head of one byte, others here of three
_SHORT_HEAD: Final = 0x90
_LONG_HEAD: Final = b"\xdc"


class Chunk:
    """Entries that are appended, as the bytes of one MessagePack array; at most 65,535."""

    __slots__ = ("_packed", "count")

    def __init__(self, entries: Sequence[object] = ()) -> None:
        self.count = 0
        self._packed = bytearray()
        for entry in entries:
            self.append(entry)

    def append(self, entry: object) -> None:
        """Add an entry."""
        _encode_into(entry, self._packed, _AT_END)
        self.count += 1

    def encode(self) -> bytes:
        """What encoding the list of the entries gives."""
        count = self.count
        if count < _SHORT:
            return bytes((_SHORT_HEAD | count,)) + self._packed
        return _LONG_HEAD + count.to_bytes(2, "big") + self._packed
