"""Guardrails: whether a rate is above its limit, asked after every message if one likes.

The evidence is the likelihood ratio of a rate above the limit, drawn from a Beta prior cut off
below it, against the limit itself. For every rate at or below the limit that is a supermartingale
from 1 (each factor's mean is p·q/p₀ + (1-p)(1-q)/(1-p₀) ≤ 1 for p ≤ p₀ < q), so by Ville's
inequality it ever reaches 1/level with a probability of at most ``level``.
"""

from __future__ import annotations

from math import log
from typing import Final

from scipy.special import betainc, betaln

LEVEL: Final = 0.001
"""How often, over all time, a campaign within its limits may be taken for one that is not."""


def exceeds(count: int, total: int, limit: float, level: float = LEVEL) -> bool:
    """Whether ``count`` of ``total`` show a rate above ``limit``."""
    if not 0 < limit < 1 or total <= 0:
        return total > 0 and count > 0 and limit <= 0
    count = min(count, total)
    a, b = 2 * limit, 2 * (1 - limit)  # a prior around the limit, worth two messages
    above_before = 1 - float(betainc(a, b, limit))
    above_after = 1 - float(betainc(a + count, b + total - count, limit))
    if above_after <= 0:
        return False
    evidence = (
        float(betaln(a + count, b + total - count) - betaln(a, b))
        + log(above_after / above_before)
        - count * log(limit)
        - (total - count) * log(1 - limit)
    )
    return evidence >= -log(level)


def sentence(what: str, count: int, total: int, limit: float) -> str:
    """Why a campaign was paused."""
    return (
        f"{count:,} of {total:,} messages ({count / total:.2%}) {what}; at most {limit:.2%} may, "
        f"and by chance this comes once in {1 / LEVEL:,.0f}"
    )
