"""The accounts of a purse: what is kept of one, and how that is written.

Layout, little-endian: magic ``BKP``, version ``u8``; then spent, returned and number of payments,
each ``i64``, for an account, and MessagePack for the index, which names the accounts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

import msgspec

from schemas.outcome import Channel
from state.profile import CorruptState

VERSION: Final = 1
INDEX: Final = "\x00purse"
"""Key of the index; no customer's id starts with a NUL."""
PATIENCE_MS: Final = 5_000
"""An ask that brought nothing is repeated after so long, then ever later."""

_MAGIC: Final = b"BKP"
_ACCOUNT: Final = struct.Struct("<3sBqqq")
_HEAD: Final = struct.Struct("<3sB")

Name = tuple[str, Channel, str]
"""Campaign, channel, day."""


class Account:
    """What one shard did with its loan of one campaign, channel and day."""

    __slots__ = (
        "ask_again_ms", "asked_for_ms", "lent", "patience_ms", "payments",
        "recall_ms", "recent", "returned", "spent", "unmet",
    )  # fmt: skip

    def __init__(self, spent: int = 0, returned: int = 0, payments: int = 0) -> None:
        self.spent = spent
        self.returned = returned
        self.payments = payments
        # Not saved: what it takes to ask neither too often nor for too much.
        self.lent = 0
        self.recent = 0
        self.unmet = 0
        self.recall_ms = 0
        self.asked_for_ms = -1
        self.ask_again_ms = 0
        self.patience_ms = PATIENCE_MS

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        return _ACCOUNT.pack(_MAGIC, VERSION, self.spent, self.returned, self.payments)

    @classmethod
    def decode(cls, data: bytes | None) -> Account:
        """Read what `encode` wrote.

        Raises:
            CorruptState: it is none, or of another release.
        """
        if data is None or len(data) != _ACCOUNT.size:
            raise CorruptState(f"a purse's account of {0 if data is None else len(data)} bytes")
        magic, version, spent, returned, payments = _ACCOUNT.unpack(data)
        _check_head(magic, version)
        return cls(spent, returned, payments)


def account_key(name: Name) -> str:
    """Where a shard's store has an account."""
    return "/".join((INDEX, *name))


def encode_index(closed: str, names: Iterable[Name]) -> bytes:
    """The newest day that is closed, and the accounts there are."""
    return _HEAD.pack(_MAGIC, VERSION) + msgspec.msgpack.encode((closed, sorted(names)))


def decode_index(data: bytes) -> tuple[str, set[Name]]:
    """Read what `encode_index` wrote.

    Raises:
        CorruptState: it is none, or of another release.
    """
    if len(data) < _HEAD.size:
        raise CorruptState(f"a purse's index of {len(data)} bytes")
    _check_head(*_HEAD.unpack_from(data))
    try:
        closed, names = _read_index(data[_HEAD.size :])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptState(f"a purse's index does not decode: {error}") from error
    return closed, set(names)


def _check_head(magic: bytes, version: int) -> None:
    if magic != _MAGIC or version != VERSION:
        raise CorruptState(
            f"a purse starts with {magic!r}, version {version}; this release reads {VERSION}"
        )


_read_index: Final = msgspec.msgpack.Decoder(tuple[str, list[Name]]).decode
