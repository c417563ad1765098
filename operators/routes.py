"""Where an output of a shard goes: to its topic, inward to `learn` and `grant`, or both."""

from __future__ import annotations

from typing import Final

from operators import names
from operators.shard import SEPARATOR
from schemas.topics import REWARDS

_ONLY_INWARD: Final = tuple(
    f"{kind}{SEPARATOR}" for kind in (names.ASKS, names.EXPOSED, names.RULES)
)
_INWARD: Final = (f"{REWARDS}{SEPARATOR}", *_ONLY_INWARD)


def inward(outputs: list[str]) -> list[str]:
    """What `learn` and `grant` must hear."""
    return [output for output in outputs if output.startswith(_INWARD)]


def outward(outputs: list[str]) -> list[str]:
    """What leaves for the topics."""
    return [output for output in outputs if not output.startswith(_ONLY_INWARD)]
