"""Where an output of a shard goes: to its topic, inward to `learn` and `grant`, or both."""

from __future__ import annotations

from typing import Final

from operators import names
from operators.records import Output
from schemas.topics import REWARDS

_ONLY_INWARD: Final = frozenset((names.ASKS, names.EXPOSED, names.RULES))
_INWARD: Final = _ONLY_INWARD | {REWARDS}


def inward(outputs: list[Output]) -> list[str]:
    """What `learn` and `grant` must hear, as messages."""
    return [output.message() for output in outputs if output.topic in _INWARD]


def outward(outputs: list[Output]) -> list[Output]:
    """What leaves for the topics."""
    return [output for output in outputs if output.topic not in _ONLY_INWARD]
