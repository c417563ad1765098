"""A profile: all kinds of tag of one customer, folded over their facts in event-time order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar, cast, get_args

import msgspec

from schemas.outcome import OutcomeKind
from state.fact import Fact
from state.tagging import TAG_KINDS
from state.tagging.base import Dimension, Tag, Value

SEEN_LIMIT: Final = 128
"""How many ids of settled facts are remembered; those of unsettled ones are kept besides."""

TagT = TypeVar("TagT", bound=Tag)

_OUTCOME_KINDS: Final = frozenset(get_args(OutcomeKind))
_KINDS: Final = tuple(TAG_KINDS.values())
_PLACE: Final = {kind: place for place, kind in enumerate(_KINDS)}


def _listeners(action: str) -> tuple[int, ...]:
    """Places of the tags that a fact of this action can change."""
    return tuple(
        place
        for place, kind in enumerate(_KINDS)
        if (
            action in kind.OUTCOMES
            if action in _OUTCOME_KINDS
            else kind.LISTENS is None or action in kind.LISTENS
        )
    )


class Profile:
    """The tags of a customer and the ids they were made from."""

    __slots__ = ("seen", "tags")

    def __init__(self, seen: list[int] | None = None, tags: tuple[Tag, ...] | None = None) -> None:
        self.seen = [] if seen is None else seen
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
        seen.append(fact.id64)
        if len(seen) > SEEN_LIMIT:
            del seen[0]

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
        """MessagePack of ``[seen, tags]``; `state.customer` puts it under its version."""
        return _encode((self.seen, self.tags))

    @classmethod
    def decode(cls, data: bytes) -> Profile:
        """Read what `encode` wrote; wrong types raise `msgspec.ValidationError`."""
        seen, tags = _decoder.decode(data)
        return cls(seen, tags)


def catalogue() -> tuple[Dimension, ...]:
    """Every dimension that a profile has."""
    return tuple(dimension for kind in _KINDS for dimension in kind.catalogue())


_dispatch: Final[dict[str, tuple[int, ...]]] = {}
_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(tuple[list[int], tuple[_KINDS]])  # type: ignore[valid-type]
