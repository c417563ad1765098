"""Times, shares, offers and reasons as commands say them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Final

from rich.console import Console

from schemas.audit import OUTCOME_REASONS, Candidate
from schemas.decision import Decision, Offer
from schemas.reasons import REASONS

WIDE: Final = 200
"""Columns of a table that is read from a file or a pipe, where it has all the room it needs."""


def console() -> Console:
    """Where a table is printed: as wide as the terminal, and wide where there is none."""
    found = Console()
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = WIDE
    return found


def moment(ts: int) -> str:
    """A UTC time to the second, or to the millisecond where it has one."""
    at = datetime.fromtimestamp(ts / 1_000, UTC)
    return f"{at.isoformat(' ', 'milliseconds' if ts % 1_000 else 'seconds')[:-6]}Z"


def share(ratio: float) -> str:
    """A share in percent, to three digits."""
    return f"{100 * ratio:.3g} %"


def about_offer(offer: Offer) -> str:
    """What is offered; empty for nothing."""
    if offer.type == "none":
        return ""
    return f"{offer.type} {share(offer.discount_ratio)}, valid {offer.valid_days} days"


def about_decision(decision: Decision) -> str:
    """By which channel, how likely a click, and what is offered."""
    drawn = "" if decision.propensity >= 1 else f" (drawn with {share(decision.propensity)})"
    parts = [f"by {decision.channel}{drawn}", f"expected click-through {share(decision.score)}"]
    if offer := about_offer(decision.offer):
        parts.append(offer)
    if decision.degraded:
        parts.append(", ".join(decision.degraded))
    return "; ".join(parts)


def meaning(reason: str) -> str:
    """What a reason code means, as the tables of reasons say it."""
    known = REASONS.get(reason)
    if known is not None:
        return known.meaning
    return OUTCOME_REASONS.get(reason, "a reason of another release")


def because(refusal: Candidate) -> str:
    """Why a candidate was refused, in words and with its code."""
    said = f"{refusal.reason}: {meaning(refusal.reason)}"
    if refusal.due_ms:
        said += f" ({moment(refusal.due_ms)})"
    return said
