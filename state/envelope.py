"""What small states are put in: three letters of magic, a version, a length, then the body.

Little-endian: magic ``3s``, version ``u8``, length of the body ``u32``.
"""

from __future__ import annotations

import struct
from typing import Final

from state.profile import CorruptState

_HEADER: Final = struct.Struct("<3sBI")


def sealed(magic: bytes, version: int, body: bytes) -> bytes:
    """The bytes that `unsealed` reads."""
    return _HEADER.pack(magic, version, len(body)) + body


def unsealed(magic: bytes, version: int, data: bytes) -> bytes:
    """The body of an envelope.

    Raises:
        CorruptState: wrong magic, another version, or a length that does not add up.
    """
    if len(data) < _HEADER.size:
        raise CorruptState(f"state of {len(data)} bytes; its header alone has {_HEADER.size}")
    found, of_version, length = _HEADER.unpack_from(data)
    if found != magic or of_version != version:
        raise CorruptState(
            f"state starts with {data[:4]!r}; this release reads {magic!r}, version {version}"
        )
    if len(data) != _HEADER.size + length:
        raise CorruptState(f"state of {len(data)} bytes is cut or has a tail")
    return data[_HEADER.size :]
