"""Guardrails of a model on trial: what it may not do worse than the other, on what came in so far.

Two kinds of evidence. Both models score every row, so in any stage their log losses are compared
on the same rows (`Paired`). Where both decide, what became of their own customers is compared too
(`Served`): there a model may show harm that no score can.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

from msgspec import Struct

LEAST: Final = 200
"""Answered rows before anything is concluded from them."""

WORSE_Z: Final = 3.09
"""One-sided 99.9 %: a model that is as good is rolled back once in a thousand looks."""

MISSED_Z: Final = 5.0
MISSED_RATIO: Final = 0.5


class Served(Struct):
    """What a version did in the stream: answered decisions, their clicks, scores, harm.

    ``left`` counts unsubscriptions and complaints, ``failed`` scores that were no number,
    ``promised`` is the sum of the scores of the answered.
    """

    answered: int = 0
    clicks: int = 0
    promised: float = 0.0
    left: int = 0
    failed: int = 0

    @property
    def rate(self) -> float:
        """Clicks of the answered."""
        return self.clicks / self.answered if self.answered else 0.0


class Paired(Struct):
    """Both models' scores of the same answered rows, whoever of them decided.

    ``promised`` is the sum of the trial's scores, ``other_promised`` of the other's; ``excess`` is
    that of the trial's log loss less the other's, ``squares`` that of its squares.
    """

    rows: int = 0
    clicks: int = 0
    promised: float = 0.0
    other_promised: float = 0.0
    trial_loss: float = 0.0
    other_loss: float = 0.0
    excess: float = 0.0
    squares: float = 0.0
    failed: int = 0

    @property
    def z(self) -> float:
        """By how many standard errors the trial's log loss is above the other's."""
        if self.rows < 2:
            return 0.0
        mean = self.excess / self.rows
        variance = max(0.0, self.squares / self.rows - mean * mean)
        return mean / sqrt(variance / self.rows) if variance else 0.0


class Seen(Struct):
    """What came in of a trial since its stage began; in stage all the other is the one before."""

    trial: Served
    other: Served
    paired: Paired

    def rows(self, stage: str) -> int:
        """The answered rows that a stage is judged by."""
        return self.trial.answered if stage == "canary" else self.paired.rows

    @property
    def summary(self) -> str:
        """The evidence in one line."""
        paired = self.paired
        if not paired.rows:
            return "no row was scored by both"
        return (
            f"log loss {paired.trial_loss / paired.rows:.4f} against "
            f"{paired.other_loss / paired.rows:.4f} on the same {paired.rows:,} rows"
            f" (z {paired.z:+.1f})"
        )


def breach(seen: Seen) -> str:
    """Why a trial must end now; empty while it may go on."""
    trial, other, paired = seen.trial, seen.other, seen.paired
    if failed := trial.failed + paired.failed:
        return f"{failed} scores were no number"
    if paired.rows >= LEAST:
        if paired.z > WORSE_Z:
            return f"worse: {seen.summary}"
        missed = _missed(paired.promised, paired.clicks, paired.rows)
        if missed and not _missed(paired.other_promised, paired.clicks, paired.rows):
            return missed  # what both miss has changed in the market
    if trial.answered < LEAST:
        return ""
    if other.answered >= LEAST:
        if (z := _z(other.clicks, other.answered, trial.clicks, trial.answered)) > WORSE_Z:
            return (
                f"click-through {trial.rate:.2%} of {trial.answered} against the other's "
                f"{other.rate:.2%} of {other.answered} (z {z:.1f})"
            )
        if (z := _z(trial.left, trial.answered, other.left, other.answered)) > WORSE_Z:
            return f"{trial.left} of {trial.answered} unsubscribed or complained (z {z:.1f})"
    return "" if paired.rows else _missed(trial.promised, trial.clicks, trial.answered)


def _missed(promised: float, clicks: int, rows: int) -> str:
    mean, rate = promised / rows, clicks / rows
    spread = sqrt(max(mean * (1 - mean), 1e-9) / rows)
    off = abs(mean - rate)
    if off > MISSED_Z * spread and off > MISSED_RATIO * max(mean, rate):
        return f"it promised {mean:.2%} and {rate:.2%} clicked"
    return ""


def _z(better: int, of_better: int, worse: int, of_worse: int) -> float:
    """By how many standard errors the first share is above the second."""
    pooled = (better + worse) / (of_better + of_worse)
    spread = sqrt(pooled * (1 - pooled) * (1 / of_better + 1 / of_worse))
    return (better / of_better - worse / of_worse) / spread if spread else 0.0
