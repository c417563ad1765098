"""What every kind of tag is: a small fold over a customer's facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from msgspec import Struct

from state.fact import Fact

Value = int | float | str | bool | None

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000


class Dimension(Struct, frozen=True):
    """One named value of a profile, as the catalogue lists it."""

    name: str
    type: Literal["int", "float", "str", "bool"]
    unit: str
    meaning: str


class Tag(Struct, array_like=True):
    """State of one kind of tag for one customer; a subclass's fields are what is persisted.

    Facts arrive in event-time order, except those later than the lateness bound: `apply` must
    take such a one without failing. State must stay bounded whatever arrives. Two customers with
    the same facts have equal state.
    """

    LISTENS: ClassVar[frozenset[str] | None] = None
    """Actions of events that can change this tag; None is every action."""

    OUTCOMES: ClassVar[frozenset[str]] = frozenset()
    """Kinds of outcome that can change this tag."""

    FIELD: ClassVar[str | None] = None
    """Only events that name this field of a fact can change this tag."""

    APART: ClassVar[bool] = False
    """Whether `dimension` works one out for less than all of them."""

    def apply(self, fact: Fact) -> None:
        """Take one fact in; a kind says how here or in `apply_all`, as suits it."""
        self.apply_all((fact,))

    def apply_all(self, facts: Sequence[Fact]) -> None:
        """Take facts in, in the order given."""
        apply = self.apply
        for fact in facts:
            apply(fact)

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """Every dimension of `catalogue`, as of ``now_ms``; None where nothing is known."""
        raise NotImplementedError

    def dimension(self, name: str, now_ms: int) -> Value:
        """One of `dimensions`."""
        return self.dimensions(now_ms)[name]

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """The dimensions of this kind; the same for all customers."""
        raise NotImplementedError


def amount(fact: Fact) -> float:
    """Price times quantity; one piece when no quantity is named, nothing without a price."""
    price = fact.price
    if price is None:
        return 0.0
    quantity = fact.quantity
    return float(price) if quantity is None else float(price) * quantity


def ratio(part: float, whole: float) -> float | None:
    """``part`` of ``whole``; None when there is no whole."""
    return part / whole if whole else None


def seconds_since(then_ms: int, now_ms: int) -> float | None:
    """Age in seconds, never negative; None for 0, which is never."""
    return max(0, now_ms - then_ms) / 1_000 if then_ms else None


def days_since(then_ms: int, now_ms: int) -> float | None:
    """Age in days, never negative; None for 0, which is never."""
    return max(0, now_ms - then_ms) / DAY_MS if then_ms else None
