"""A customer: a settled profile, the facts that are not settled yet, and the engine's book.

State is written once for each batch that touches a customer, so a write must not cost a whole
profile. It is therefore kept as a log-structured pair: ``base`` is an encoded profile of every
fact that no event within the lateness bound can still precede, ``tail`` holds the facts since, in
event-time order. Accepting an event appends some tens of bytes; the profile up to now (``head``)
is folded from both when somebody asks, and a fact that arrives out of order is put in its place
and folded again. So any order of arrival within the bound gives the same profile, exactly, for
every kind of tag, and none of them has to be commutative.

Layout, little-endian: magic ``BKC``, version ``u8``, lengths of base, tail and book ``u32`` each,
then the three, all MessagePack.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from typing import Final

import msgspec

from state.book import Book
from state.fact import Fact
from state.profile import CorruptState, Profile, has_seen
from state.tagging.recent import RING, Recent

VERSION: Final = 1
TAIL_SOFT: Final = 16
TAIL_LONG: Final = 24
TAIL_HARD: Final = 256

_MAGIC: Final = b"BKC"
_HEADER: Final = struct.Struct("<3sBIII")
_ARRAY32: Final = b"\xdd"
_TAIL_HEAD: Final = 5
_AT_END: Final = -1
_encoder: Final = msgspec.msgpack.Encoder()
_encode: Final = _encoder.encode
_encode_into: Final = _encoder.encode_into
_decode_tail: Final = msgspec.msgpack.Decoder(list[Fact]).decode
_decode_book: Final = msgspec.msgpack.Decoder(Book).decode
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError)


class Customer:
    """One customer's state; see the module for how it is kept."""

    __slots__ = ("_head", "_ids", "_packed", "base", "book", "tail")

    def __init__(
        self, base: bytes = b"", tail: list[Fact] | None = None, book: Book | None = None
    ) -> None:
        self.base = base
        self.tail = [] if tail is None else tail
        self.book = Book() if book is None else book
        # The tail's facts as they are written, so that a write encodes none of them again.
        self._packed = bytearray()
        self._pack()
        self._head: Profile | None = None
        self._ids: set[int] | None = None

    def profile(self) -> Profile:
        """The profile up to the newest fact; read it, do not change it."""
        head = self._head
        if head is None:
            head = self._head = Profile(self.base, self.tail)
        return head

    def count_recent(
        self,
        actions: frozenset[str] | None,
        since_ms: int,
        until_ms: int,
        item: str | None = None,
        category: str | None = None,
        enough: int = RING,
    ) -> int:
        """How many of the last `RING` events lie in ``(since_ms, until_ms]`` and fit.

        None for ``actions``, ``item`` or ``category`` means any. It counts no further than to
        ``enough``.
        """
        recent = self.profile().tag(Recent)
        return recent.matches(actions, since_ms, until_ms, item, category, enough)

    def knows(self, id64: int) -> bool:
        """Whether an event or outcome of this id was accepted before.

        The window is every unsettled fact and the last `SEEN_LIMIT` settled ones. No tag is read
        for it: most events of most customers need nothing else from the profile.
        """
        ids = self._ids
        if ids is None:
            ids = self._ids = {fact.id64 for fact in self.tail}
        return id64 in ids or (bool(self.base) and has_seen(self.base, id64))

    def is_late(self, ts: int, lateness_ms: int) -> bool:
        """Whether a fact of time ``ts`` comes later than the bound allows."""
        return ts < self.book.newest_ms - lateness_ms

    def accept(self, fact: Fact) -> None:
        """Take a fact in, wherever in time it belongs."""
        tail, ts = self.tail, fact.ts
        last = tail[-1] if tail else None
        if last is None or last.ts < ts or (last.ts == ts and last.id64 <= fact.id64):
            tail.append(fact)
            _encode_into(fact, self._packed, _AT_END)
        else:
            tail.insert(bisect_right(tail, _order(fact), key=_order), fact)
            self._pack()
            self._head = None
        if self._ids is not None:
            self._ids.add(fact.id64)
        book = self.book
        book.revision += 1
        if ts > book.newest_ms:
            book.newest_ms = ts

    def settles(self, now_ms: int, lateness_ms: int) -> bool:
        """Whether `settle` would fold anything."""
        return len(self.tail) >= TAIL_SOFT and self._settled(now_ms, lateness_ms) > 0

    def settle(self, now_ms: int, lateness_ms: int) -> None:
        """Fold what can no longer be preceded into the base, once that pays.

        That is so for a tail of `TAIL_SOFT` facts when all of it is settled, and for one of
        `TAIL_LONG` when part of it is. Beyond `TAIL_HARD` the oldest facts settle whatever their
        age, which keeps the size bounded.

        Call it with the time of a fact that is about to be accepted. Facts that have settled are
        no longer in the tail, so publish what is new before.
        """
        tail = self.tail
        settled = self._settled(now_ms, lateness_ms)
        if not settled:
            return
        if settled == len(tail):
            self.base = self.profile().settle()
        else:
            self.base = Profile(self.base, tail[:settled]).encode()
            if self._head is not None:
                self._head.rebase(self.base, settled)
        del tail[:settled]
        self._pack()
        self._ids = None

    def _settled(self, now_ms: int, lateness_ms: int) -> int:
        """How many of the oldest facts to fold."""
        tail = self.tail
        count = len(tail)
        if count < TAIL_SOFT:
            return 0
        horizon = max(now_ms, self.book.newest_ms) - lateness_ms
        # A fact of the very horizon is in time still, so those of the horizon wait for it.
        settled = bisect_left(tail, horizon, key=_time)
        if settled == count:
            return settled
        if count < TAIL_LONG:
            return 0
        settled = max(settled, count - TAIL_HARD)
        return settled if settled >= TAIL_SOFT else 0

    def _pack(self) -> None:
        packed = self._packed
        packed.clear()
        for fact in self.tail:
            _encode_into(fact, packed, _AT_END)

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        base, packed, book = self.base, self._packed, _encode(self.book)
        header = _HEADER.pack(_MAGIC, VERSION, len(base), _TAIL_HEAD + len(packed), len(book))
        count = len(self.tail).to_bytes(4, "big")
        return b"".join((header, base, _ARRAY32, count, packed, book))

    @classmethod
    def decode(cls, data: bytes) -> Customer:
        """Read a customer.

        Raises:
            CorruptState: wrong magic, unknown version, or lengths that do not add up.
        """
        if len(data) < _HEADER.size:
            raise CorruptState(f"customer state of {len(data)} bytes; the header alone has 16")
        magic, version, base, tail, book = _HEADER.unpack_from(data)
        if magic != _MAGIC or version != VERSION:
            raise CorruptState(
                f"customer state starts with {data[:4]!r}; this release reads version {VERSION}"
            )
        if len(data) != _HEADER.size + base + tail + book:
            raise CorruptState(f"customer state of {len(data)} bytes is cut or has a tail")
        at = _HEADER.size
        facts = data[at + base : at + base + tail]
        if facts[:1] != _ARRAY32:
            raise CorruptState(f"customer's facts start with {facts[:1]!r}")
        try:
            customer = cls(data[at : at + base], None, _decode_book(data[at + base + tail :]))
            customer.tail = _decode_tail(facts)
        except _UNREADABLE as error:
            raise CorruptState(f"customer state does not decode: {error}") from error
        customer._packed += facts[_TAIL_HEAD:]
        return customer


def _time(fact: Fact) -> int:
    return fact.ts


def _order(fact: Fact) -> tuple[int, int]:
    return fact.ts, fact.id64
