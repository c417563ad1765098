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
    for _ in range(TOLD):
        size = max(sizes)
        if not size >= _LEAST:
            break
        place = sizes.index(size)
        sizes[place] = -1.0  # so that of two alike each is told
        effect = effects[place]
        if size > _MOST:
            effect = _MOST if effect > 0 else -_MOST
        told.append(f"{_MEANINGS[place]}: odds x {exp(effect):.3g}")
    return tuple(told)
