"""Weights that fade: what a customer is inclined to, by what they did lately."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import exp2
from typing import ClassVar, Final, TypeVar

from msgspec import field

from state.fact import Fact
from state.tagging.base import DAY_MS, Dimension, Tag, Value, ratio

HALF_LIFE_MS: Final = 7 * DAY_MS
LIMIT: Final = 16
TOP: Final = 8

ACTION_WEIGHTS: Final[dict[str, float]] = {
    "view": 1.0,
    "search": 2.0,
    "favourite": 2.0,
    "share": 2.0,
    "cart": 3.0,
    "purchase": 5.0,
}

_LOOSE: Final = LIMIT + 4  # trimmed by fives: sorting for each new name would show
_REBASE_HALF_LIVES: Final = 32.0
_NEGLIGIBLE: Final = 1e-9

Weight = TypeVar("Weight", int, float)


def heaviest(weights: Mapping[str, Weight], limit: int) -> list[tuple[str, Weight]]:
    """The ``limit`` heaviest, heaviest first; equal ones by name."""
    return sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]


class FadingWeights(Tag):
    """Weights by name, each half as heavy after `HALF_LIFE_MS`; the `LIMIT` heaviest are kept.

    They are stored as they would weigh at ``origin_ms``: a later action weighs more instead of all
    others being faded each time. The origin moves on before the numbers grow large.
    """

    LISTENS = frozenset(ACTION_WEIGHTS)
    PREFIX: ClassVar[str]
    NOUN: ClassVar[str]

    origin_ms: int = 0
    weights: dict[str, float] = field(default_factory=dict)

    def add_all(self, names: Iterable[str | None], facts: Sequence[Fact]) -> None:
        """Add the weight of each fact's action to its name; none to a fact without one."""
        weights = self.weights
        for name, fact in zip(names, facts):  # noqa: B905 - made of each other
            if name is None:
                continue
            half_lives = (fact.ts - self.origin_ms) / HALF_LIFE_MS
            if half_lives > _REBASE_HALF_LIVES:
                if weights:
                    weights = self._rebase(fact.ts, half_lives)
                else:  # the first of all
                    self.origin_ms = fact.ts
                half_lives = 0.0
            weights[name] = weights.get(name, 0.0) + ACTION_WEIGHTS[fact.action] * exp2(half_lives)
            if len(weights) > _LOOSE:
                weights = self.weights = dict(heaviest(weights, LIMIT))

    def _rebase(self, origin_ms: int, half_lives: float) -> dict[str, float]:
        faded = exp2(-half_lives)
        self.origin_ms = origin_ms
        self.weights = {
            name: weight * faded
            for name, weight in self.weights.items()
            if weight * faded > _NEGLIGIBLE
        }
        return self.weights

    def weight(self, name: str | None, now_ms: int) -> float:
        """The weight of ``name`` as of ``now_ms``; 0 when unknown."""
        stored = self.weights.get(name) if name is not None else None
        return 0.0 if stored is None else stored * self._fading(now_ms)

    def total(self, now_ms: int) -> float:
        """The sum of all weights as of ``now_ms``."""
        return sum(self.weights.values()) * self._fading(now_ms)

    def _fading(self, now_ms: int) -> float:
        # A reader's clock far behind the facts must not make infinity of a weight.
        return exp2(min(64.0, (self.origin_ms - now_ms) / HALF_LIFE_MS))

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """The `TOP` names with their weights, how many are known and the first one's share."""
        fading = self._fading(now_ms)
        top = heaviest(self.weights, TOP)
        values: dict[str, Value] = {}
        for rank in range(TOP):
            name, weight = top[rank] if rank < len(top) else (None, None)
            values[f"{self.PREFIX}_{rank + 1}"] = name
            values[f"{self.PREFIX}_{rank + 1}_weight"] = None if weight is None else weight * fading
        values[f"{self.PREFIX}_known_count"] = min(LIMIT, len(self.weights))
        values[f"{self.PREFIX}_top_share"] = (
            ratio(top[0][1], sum(self.weights.values())) if top else None
        )
        return values

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """Names and weights of the heaviest, and two figures of the spread."""
        dimensions: list[Dimension] = []
        for rank in range(1, TOP + 1):
            what = f"{rank}. {cls.NOUN} by weight (7 days' half-life)"
            dimensions += (
                Dimension(f"{cls.PREFIX}_{rank}", "str", cls.NOUN, what),
                Dimension(f"{cls.PREFIX}_{rank}_weight", "float", "weight", f"of the {what}"),
            )
        return (
            *dimensions,
            Dimension(
                f"{cls.PREFIX}_known_count", "int", cls.NOUN, f"with a weight, up to {LIMIT}"
            ),
            Dimension(f"{cls.PREFIX}_top_share", "float", "ratio", "the first one's part of all"),
        )
