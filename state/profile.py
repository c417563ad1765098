"""A profile: all kinds of tag of one customer, folded over their facts in event-time order.

Layout of its bytes, little-endian: length of ``seen`` ``u16``, ``seen``, then the tags as one
MessagePack array in the order of `TAG_KINDS`. `state.customer` puts them under its version.

Most events need one or two tags of a customer, so a tag is decoded, and folded, when somebody asks
for it; one that no fact concerns goes from the old bytes to the new ones as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final, TypeVar, get_args

import msgspec

from schemas.event import TAGS
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
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError)


class CorruptState(ValueError):
    """State bytes that we did not write, or not whole."""


_Concerns = Callable[[Fact], bool]
_Narrow = Callable[[Sequence[Fact]], list[Fact]]
_Concerned = dict[tuple[int, int], list[Fact]]
_Wanted = tuple[str | None, frozenset[str], frozenset[str] | None]
"""A field, and the actions that count without it; or the actions that do not count, and those that
do."""


def _wanted(kind: type[Tag]) -> _Wanted:
    """What facts can change a kind of tag: alike for kinds that want the same."""
    if kind.FIELD is not None:
        return kind.FIELD, kind.OUTCOMES, None
    # The night's conclusions are nothing that the customer did.
    others = OUTCOME_KINDS - kind.OUTCOMES | {TAGS}
    return None, others, None if kind.LISTENS is None else kind.LISTENS - others | kind.OUTCOMES


def _concerning(wanted: _Wanted) -> tuple[_Concerns, _Narrow]:
    """What tells whether a fact is wanted, and what picks those facts of many."""
    field, actions, only = wanted
    if field is not None:
        named = attrgetter(field)
        return (
            lambda fact: named(fact) is not None or fact.action in actions,
            lambda facts: [
                fact for fact in facts if named(fact) is not None or fact.action in actions
            ],
        )
    if only is None:
        return (
            lambda fact: fact.action not in actions,
            lambda facts: [fact for fact in facts if fact.action not in actions],
        )
    return (
        lambda fact: fact.action in only,
        lambda facts: [fact for fact in facts if fact.action in only],
    )


class Profile:
    """The tags of a customer: those in the bytes ``base``, with ``facts`` folded in.

    ``facts`` is looked at anew each time, so what is appended to it counts from then on.

    Raises:
        CorruptState: from any method: the base is not a profile.
    """

    __slots__ = ("_base", "_facts", "_parts", "_tags", "_taken")

    def __init__(self, base: bytes = b"", facts: Sequence[Fact] = ()) -> None:
        self._base = base
        self._facts = facts
        self._parts: list[msgspec.Raw] | None = None
        self._tags: list[Tag | None] = [None] * len(_KINDS)
        # How many of the facts each tag has taken in.
        self._taken = [0] * len(_KINDS)

    def tag(self, kind: type[TagT]) -> TagT:
        """The tag of a kind; read it, do not change it."""
        return self._at(_PLACE[kind])  # type: ignore[return-value]

    def tags(self, places: Sequence[int]) -> list[Tag]:
        """The tags at these places of `TAG_KINDS`; read them, do not change them."""
        known, taken, count = self._tags, self._taken, len(self._facts)
        concerned: _Concerned = {}
        found = []
        for place in places:
            tag = known[place]
            if tag is None or taken[place] != count:
                tag = tag or self._decode(place)
                if fresh := self._fresh(place, concerned):
                    tag.apply_all(fresh)
                taken[place] = count
            found.append(tag)
        return found

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """Every dimension of `catalogue` as of ``now_ms``."""
        values: dict[str, Value] = {}
        for tag in self.tags(range(len(_KINDS))):
            values.update(tag.dimensions(now_ms))
        return values

    def encode(self) -> bytes:
        """Bytes that can be the base of another profile, and that `has_seen` reads."""
        facts, base = self._facts, self._base
        seen = base[_LENGTH_BYTES : _end_of_seen(base)] if base else b""
        seen += b"".join([fact.id64.to_bytes(_ID_BYTES, "little") for fact in facts])
        seen = seen[-_SEEN_BYTES:]
        parts, taken, count = self._read(), self._taken, len(facts)
        concerned: _Concerned = {}
        whole: list[object] = []
        for place, tag in enumerate(self._tags):
            if taken[place] != count and (fresh := self._fresh(place, concerned)):
                tag = tag or self._decode(place)
                tag.apply_all(fresh)
                taken[place] = count
            if tag is not None:
                whole.append(tag)
            else:
                whole.append(parts[place] if parts else self._decode(place))
        return b"".join((len(seen).to_bytes(_LENGTH_BYTES, "little"), seen, _encode(whole)))

    def settle(self) -> bytes:
        """Fold every fact, encode, and go on from those bytes; the facts are the caller's to drop.

        Returns what `encode` does. Cheaper than a new profile: tags once decoded stay.
        """
        self._base = self.encode()
        self._taken = [0] * len(_KINDS)
        return self._base

    def rebase(self, base: bytes, settled: int) -> None:
        """Go on from a base that has the oldest facts in it; these are the caller's to drop."""
        left = len(self._facts) - settled
        for place, tag in enumerate(self._tags):
            if tag is not None:
                self._at(place)
                self._taken[place] = left
        self._base, self._parts = base, None

    def _at(self, place: int) -> Tag:
        """The tag at a place with every fact in it."""
        tag, facts, taken = self._tags[place], self._facts, self._taken[place]
        if tag is None:
            tag = self._decode(place)
        elif taken == len(facts):
            return tag
        elif taken == len(facts) - 1:  # as good as always: one event, and somebody asks
            fact = facts[-1]
            if _CONCERNS[place](fact):
                tag.apply_all((fact,))
            self._taken[place] = taken + 1
            return tag
        fresh = _NARROW[place](facts[taken:] if taken else facts)
        if fresh:
            tag.apply_all(fresh)
        self._taken[place] = len(facts)
        return tag

    def _fresh(self, place: int, concerned: _Concerned) -> list[Fact]:
        """The facts that a tag wants and has not taken; kept for those that want the same."""
        taken = self._taken[place]
        alike = _ALIKE[place], taken
        fresh = concerned.get(alike)
        if fresh is None:
            facts = self._facts
            fresh = concerned[alike] = _NARROW[place](facts[taken:] if taken else facts)
        return fresh

    def _decode(self, place: int) -> Tag:
        """The tag at a place as the base has it."""
        parts = self._read()
        try:
            tag: Tag = _DECODE[place](parts[place]) if parts else _KINDS[place]()
        except _UNREADABLE as error:
            raise CorruptState(f"customer's profile does not decode: {error}") from error
        self._tags[place] = tag
        return tag

    def _read(self) -> list[msgspec.Raw]:
        """The tags of the base, each as its bytes; none without a base."""
        parts = self._parts
        if parts is None:
            base = self._base
            try:
                parts = _split(base[_end_of_seen(base) :]) if base else []
            except _UNREADABLE as error:
                raise CorruptState(f"customer's profile does not decode: {error}") from error
            if base and len(parts) != len(_KINDS):
                raise CorruptState(
                    f"customer's profile has {len(parts)} tags instead of {len(_KINDS)}"
                )
            self._parts = parts
        return parts


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


_encode: Final = msgspec.msgpack.Encoder().encode
_split: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_DECODE: Final = tuple(msgspec.msgpack.Decoder(kind).decode for kind in _KINDS)
_WANTED: Final = [_wanted(kind) for kind in _KINDS]
_ALIKE: Final = [_WANTED.index(wanted) for wanted in _WANTED]
"""For each kind the first that wants the same facts."""
_CONCERNS: Final = [_concerning(wanted)[0] for wanted in _WANTED]
_NARROW: Final = [_concerning(wanted)[1] for wanted in _WANTED]
