"""A profile: all kinds of tag of one customer, folded over their facts in event-time order.

Layout of its bytes, little-endian: length of ``seen`` ``u16``, ``seen``, then the tags as one
MessagePack array in the order of `TAG_KINDS`. `state.customer` puts them under its version.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar, cast, get_args

import msgspec

from schemas.outcome import OutcomeKind
from state.fact import Fact
from state.tagging import TAG_KINDS
from state.tagging.base import Dimension, Tag, Value

SEEN_LIMIT: Final = 64
"""How many ids of settled facts are remembered; those of unsettled ones are kept besides."""

_ID_BYTES: Final = 8
_SEEN_BYTES: Final = SEEN_LIMIT * _ID_BYTES
_LENGTH_BYTES: Final = 2

TagT = TypeVar("TagT", bound=Tag)

OUTCOME_KINDS: Final = frozenset(get_args(OutcomeKind))
_KINDS: Final = tuple(TAG_KINDS.values())
_PLACE: Final = {kind: place for place, kind in enumerate(_KINDS)}


def _listeners(action: str) -> tuple[int, ...]:
    """Places of the tags that a fact of this action can change."""
    return tuple(
        place
        for place, kind in enumerate(_KINDS)
        if (
            action in kind.OUTCOMES
            if action in OUTCOME_KINDS
            else kind.LISTENS is None or action in kind.LISTENS
        )
    )


class Profile:
    """The tags of a customer, and the ids of the facts that they were made from.

    The ids are kept packed, eight bytes each, because they are searched far more rarely than they
    are read and written.
    """

    __slots__ = ("seen", "tags")

    def __init__(self, seen: bytearray | None = None, tags: tuple[Tag, ...] | None = None) -> None:
        self.seen = bytearray() if seen is None else seen
        self.tags = tuple(kind() for kind in _KINDS) if tags is None else tags

    def apply(self, fact: Fact) -> None:
        """Take one fact in."""
        action = fact.action
        places = _dispatch.get(action)
        if places is None:
            places = _listeners(action)
            if len(_dispatch) < 1_024:  # actions are the producers' words: keep the memo bounded
                _dispatch[action] = places
        tags = self.tags
        for place in places:
            tags[place].apply(fact)
        seen = self.seen
        seen += fact.id64.to_bytes(_ID_BYTES, "little")
        if len(seen) > 2 * _SEEN_BYTES:
            del seen[:-_SEEN_BYTES]

    def apply_all(self, facts: Iterable[Fact]) -> None:
        """Take facts in, in the order given."""
        for fact in facts:
            self.apply(fact)

    def tag(self, kind: type[TagT]) -> TagT:
        """The tag of a kind."""
        return cast(TagT, self.tags[_PLACE[kind]])

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """Every dimension of `catalogue` as of ``now_ms``."""
        values: dict[str, Value] = {}
        for tag in self.tags:
            values.update(tag.dimensions(now_ms))
        return values

    def encode(self) -> bytes:
        """The bytes that `decode` and `has_seen` read."""
        seen = self.seen[-_SEEN_BYTES:]
        return b"".join((len(seen).to_bytes(_LENGTH_BYTES, "little"), seen, _encode(self.tags)))

    @classmethod
    def decode(cls, data: bytes) -> Profile:
        """Read what `encode` wrote.

        Anything else raises `msgspec.DecodeError`, or `UnicodeDecodeError` for a broken string.
        """
        end = _end_of_seen(data)
        return cls(bytearray(data[_LENGTH_BYTES:end]), _decode_tags(data[end:]))


def has_seen(data: bytes, id64: int) -> bool:
    """Whether an encoded profile remembers a fact of this id; no tag is read for it."""
    end = _end_of_seen(data)
    wanted = id64.to_bytes(_ID_BYTES, "little")
    place = data.find(wanted, _LENGTH_BYTES, end)
    while place >= 0 and (place - _LENGTH_BYTES) % _ID_BYTES:  # across two neighbours
        place = data.find(wanted, place + 1, end)
    return place >= 0


def _end_of_seen(data: bytes) -> int:
    return _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")


def catalogue() -> tuple[Dimension, ...]:
    """Every dimension that a profile has."""
    return tuple(dimension for kind in _KINDS for dimension in kind.catalogue())


_dispatch: Final[dict[str, tuple[int, ...]]] = {}
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_tags: Final = msgspec.msgpack.Decoder(tuple[_KINDS]).decode  # type: ignore[valid-type]
