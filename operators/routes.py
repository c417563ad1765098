"""Where an output of a shard goes: to its topic, inward to `learn` and `grant`, or both.

Somebody waits for a decision, and its audit must be there when it is. For nothing else that leaves
a shard does it matter if it comes some milliseconds later, in one request with others.
"""

from __future__ import annotations

from typing import Final

from operators import names
from operators.records import Output
from schemas.topics import AUDIT, DECISIONS, REWARDS

_ONLY_INWARD: Final = frozenset((names.ASKS, names.EXPOSED, names.RULES))
_INWARD: Final = _ONLY_INWARD | {REWARDS}
_NOT_BULK: Final = _ONLY_INWARD | {AUDIT, DECISIONS}


def inward(outputs: list[Output]) -> list[str]:
    """What `learn` and `grant` must hear, as messages."""
    return [output.message() for output in outputs if output.topic in _INWARD]


def prompt(outputs: list[Output]) -> list[Output]:
    """What leaves for the topics at once: what was done, then what was decided.

    In this order, so that no crash takes the audit of a decision that stands.
    """
    audit = [output for output in outputs if output.topic == AUDIT]
    return audit + [output for output in outputs if output.topic == DECISIONS]


def bulk(outputs: list[Output]) -> list[Output]:
    """What leaves for the topics as well."""
    return [output for output in outputs if output.topic not in _NOT_BULK]
