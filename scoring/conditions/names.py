"""The names that a condition may use: what each is, what it may be, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from operator import attrgetter
from typing import Final, Generic, Literal, TypeVar

from schemas.control import Segmentation
from scoring.conditions.syntax import ConditionError
from scoring.segments import nearest
from state.fact import Fact
from state.profile import Profile
from state.tagging import TAG_KINDS
from state.tagging.base import Dimension, Tag, Value, amount
from state.tagging.habits import WEEKDAYS
from state.tagging.tempo import Tempo
from state.tagging.traits import Traits

Source = TypeVar("Source")
TagKind = type[Tag]

_TYPES: Final[dict[str, Literal["number", "text", "flag"]]] = {
    "int": "number",
    "float": "number",
    "str": "text",
    "bool": "flag",
}
_RANGES: Final[dict[str, tuple[float | None, float | None]]] = {
    "location_lat": (-90, 90),
    "location_lon": (-180, 180),
    "price_bought_to_viewed_ratio": (0, None),
    "rfm_refund_ratio": (0, None),
    "habit_favourite_hour": (0, 23),
    "trait_birth_year": (1900, 2100),
    "trait_best_hour": (0, 23),
    "trait_age_years": (None, None),
    "trait_member_days_left": (None, None),
    "trait_signup_days": (None, None),
    "trait_member_until_ms": (None, None),
    "trait_payment_due_ms": (None, None),
    "trait_signup_ms": (None, None),
}
"""Least and most of dimensions that are no plain count, amount or share."""
_TRAITS: Final = tuple(
    ["gender", "city", "region", "country", "zone", "language", "member_level", "income_band"]
)


@dataclass(frozen=True, slots=True, eq=False)
class Name(Generic[Source]):
    """A name of a vocabulary: its type and unit, the values it can have, and how it is read.

    ``tag`` is the kind of tag that a dimension is of.
    """

    name: str
    type: Literal["number", "text", "flag"]
    unit: str
    meaning: str
    get: Callable[[Source], Value]
    whole: bool = False
    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()
    tag: TagKind | None = None


@dataclass(frozen=True, slots=True)
class Vocabulary(Generic[Source]):
    """The names that stand for something in one place of a campaign.

    ``elsewhere`` holds the names of the other place, with what to do about them.
    """

    of: str
    names: dict[str, Name[Source]]
    elsewhere: Callable[[str], str | None]

    def __getitem__(self, name: str) -> Name[Source]:
        """The name.

        Raises:
            ConditionError: there is no such name; the sentence has the nearest ones.
        """
        found = self.names.get(name)
        if found is not None:
            return found
        advice = self.elsewhere(name)
        if advice is None:
            near = get_close_matches(name, self.names, 3, 0.7)
            advice = (
                f"did you mean {' or '.join(near)}?"
                if near
                else "`beckon campaigns names` lists what there is"
            )
        raise ConditionError(f"{self.of} has no `{name}`; {advice}")


class View:
    """A profile at a moment. Each kind of tag is read once, when the first condition asks.

    Of the kinds whose dimensions stand apart, only what is asked for is read.
    """

    __slots__ = ("_now_ms", "_profile", "_read", "_segmentation")

    def __init__(
        self, profile: Profile, now_ms: int, segmentation: Segmentation | None = None
    ) -> None:
        self._profile = profile
        self._now_ms = now_ms
        self._segmentation = segmentation
        self._read: dict[type[Tag], dict[str, Value]] = {}

    def dimension(self, kind: type[Tag], name: str) -> Value:
        """A dimension of a kind of tag."""
        values = self._read.get(kind)
        if values is None or name not in values:
            tag, now_ms = self._profile.tag(kind), self._now_ms
            if values is None:
                values = self._read[kind] = {} if kind.APART else tag.dimensions(now_ms)
            if kind.APART:
                values[name] = tag.dimension(name, now_ms)
        return values[name]

    def segment(self) -> str | None:
        """The segment that the night found, or else the nearest of the night's."""
        found = self._profile.tag(Traits).get("segment")
        if found is not None:
            return str(found)
        record = self._segmentation
        return None if record is None else nearest(record, self._profile, self._now_ms)


@cache
def of_profile() -> Vocabulary[View]:
    """Every dimension of the catalogue: what ``audience`` may speak of."""
    names = {
        dimension.name: _of_dimension(kind, dimension)
        for kind in TAG_KINDS.values()
        for dimension in kind.catalogue()
    }

    # Purchases and the night's word change it, so it is looked at whenever something happens.
    names["segment"] = Name(
        "segment", "text", "", "the night's segment, or the nearest one", View.segment, tag=Tempo
    )

    def elsewhere(name: str) -> str | None:
        if name in of_event().names:
            return "it belongs to the event: move it to `when`"
        return None

    return Vocabulary("the profile", names, elsewhere)


@cache
def of_event() -> Vocabulary[Fact]:
    """Every field of the triggering event: what ``when`` may speak of."""
    names = {
        name.name: name
        for name in (
            Name("action", "text", "", "what the customer did", attrgetter("action")),
            Name("item_id", "text", "item id", "what it was done to", attrgetter("item")),
            Name("item_category", "text", "category", "of the item", attrgetter("category")),
            Name("brand", "text", "brand", "of the item", attrgetter("brand")),
            Name("price", "number", "money", "of one piece", attrgetter("price"), low=0),
            Name("quantity", "number", "pieces", "how many", attrgetter("quantity"), True, 0),
            Name("amount", "number", "money", "price times quantity", _amount, low=0),
            *_of_part("location", ("city", "region"), "where the customer was"),
            *_of_part("device", ("type", "os", "app_version"), "what the customer held"),
            *_of_part("traits", _TRAITS, "what the event says of the customer"),
        )
    }

    def elsewhere(name: str) -> str | None:
        if name in of_profile().names:
            return "it belongs to the customer's profile: move it to `audience`"
        return None

    return Vocabulary("the event", names, elsewhere)


def _of_dimension(kind: type[Tag], dimension: Dimension) -> Name[View]:
    name = dimension.name

    def get(view: View) -> Value:
        return view.dimension(kind, name)

    type_ = _TYPES[dimension.type]
    low, high = _RANGES.get(name, (0, 1 if dimension.unit == "ratio" else None))
    return Name(
        name,
        type_,
        dimension.unit,
        dimension.meaning,
        get,
        dimension.type == "int",
        low if type_ == "number" else None,
        high if type_ == "number" else None,
        WEEKDAYS if dimension.unit == "weekday" else (),
        kind,
    )


def _of_part(part: str, fields: Iterable[str], meaning: str) -> Iterable[Name[Fact]]:
    read = attrgetter(part)

    def getter(field: str) -> Callable[[Fact], Value]:
        inner = attrgetter(field)

        def get(fact: Fact) -> Value:
            found = read(fact)
            return None if found is None else inner(found)

        return get

    for field in fields:
        yield Name(f"{part}.{field}", "text", "", meaning, getter(field))


def _amount(fact: Fact) -> Value:
    return None if fact.price is None else amount(fact)
