"""What moved a score, in words."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from operator import mul
from typing import Final

from scoring.features import MEANING
from scoring.model import LogisticModel

TOLD: Final = 3
"""How many features are told of a score."""

_LEAST: Final = 0.01
_MOST: Final = 100.0  # of log-odds; beyond it the factor says nothing more
_MEANINGS: Final = tuple(MEANING.values())


def because(model: LogisticModel, features: Sequence[float]) -> tuple[str, ...]:
    """The features that moved a score most, with what each did to the odds of a click."""
    effects = list(map(mul, model.weights, features))
    sizes = list(map(abs, effects))
    told = []
    for size in sorted(sizes)[: -TOLD - 1 : -1]:
        if size >= _LEAST:
            place = sizes.index(size)
            sizes[place] = -1.0  # so that of two alike each is told
            factor = exp(max(-_MOST, min(_MOST, effects[place])))
            told.append(f"{_MEANINGS[place]}: odds x {factor:.3g}")
    return tuple(told)
