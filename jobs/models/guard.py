"""Guardrails of a canary: what it may not do worse than the champion beside it, in the open."""

from __future__ import annotations

from math import sqrt
from typing import Final

from msgspec import Struct

LEAST: Final = 200
"""Answered decisions of the canary before anything is concluded from them."""

WORSE_Z: Final = 3.09
"""One-sided 99.9 %: a canary that is as good is rolled back once in a thousand looks."""

MISSED_Z: Final = 5.0
MISSED_RATIO: Final = 0.5


class Served(Struct):
    """What a version did in the stream: answered decisions, their clicks, scores, harm."""

    answered: int = 0
    clicks: int = 0
    promised: float = 0.0
    left: int = 0
    failed: int = 0

    @property
    def rate(self) -> float:
        """Clicks of the answered."""
        return self.clicks / self.answered if self.answered else 0.0


def breach(canary: Served, champion: Served) -> str:
    """Why a canary must be rolled back now; empty while it may go on.

    ``left`` counts unsubscriptions and complaints, ``failed`` scores that were no number,
    ``promised`` is the sum of the scores of the answered.
    """
    if canary.failed:
        return f"{canary.failed} scores were no number"
    if canary.answered < LEAST:
        return ""
    if champion.answered >= LEAST:
        if (z := _z(champion.clicks, champion.answered, canary.clicks, canary.answered)) > WORSE_Z:
            return (
                f"click-through {canary.rate:.2%} of {canary.answered} against the champion's "
                f"{champion.rate:.2%} of {champion.answered} (z {z:.1f})"
            )
        if (z := _z(canary.left, canary.answered, champion.left, champion.answered)) > WORSE_Z:
            return f"{canary.left} of {canary.answered} unsubscribed or complained (z {z:.1f})"
    mean = canary.promised / canary.answered
    spread = sqrt(max(mean * (1 - mean), 1e-9) / canary.answered)
    off = abs(mean - canary.rate)
    if off > MISSED_Z * spread and off > MISSED_RATIO * max(mean, canary.rate):
        return f"it promised {mean:.2%} and {canary.rate:.2%} clicked"
    return ""


def _z(better: int, of_better: int, worse: int, of_worse: int) -> float:
    """By how many standard errors the first share is above the second."""
    pooled = (better + worse) / (of_better + of_worse)
    spread = sqrt(pooled * (1 - pooled) * (1 / of_better + 1 / of_worse))
    return (better / of_better - worse / of_worse) / spread if spread else 0.0
