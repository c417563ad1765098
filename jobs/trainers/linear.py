"""A logistic model of the night's: standardised, its strength searched over time, calibrated."""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec import Struct

from jobs.trainers import metrics
from jobs.trainers.base import Matrix, Sample, split
from jobs.trainers.card import Fold, forward
from jobs.trainers.ctr_study import Linear, logistic, mean_loss, platt, sigmoid
from schemas.errors import UserMistake

STRENGTHS: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
LEAST_OF_A_KIND: Final = 20
LEAST_TO_CALIBRATE: Final = 50
"""Rows of the rarer kind below which Platt's sigmoid would learn noise."""


class Fitted(Struct, frozen=True):
    """A logistic model with Platt's sigmoid folded in; rows from ``cut`` on had no part in it."""

    linear: Linear
    platt: tuple[float, float]
    c: float
    searched: dict[float, list[Fold]]
    trained: int
    cut: int


def fit_logistic(sample: Sample, quick: bool = False, least: int = LEAST_OF_A_KIND) -> Fitted:
    """Fit on the oldest rows, calibrate on the next, leave the newest to judge; ``least`` rows of
    either kind are needed to learn, and to judge.

    Raises:
        UserMistake: too few rows of a kind.
    """
    trained, cut = split(sample.at_ms)
    x, y = sample.features, sample.target
    check_kinds(y, trained, cut, least)
    searched: dict[float, list[Fold]] = {}
    for c in STRENGTHS[3:4] if quick else STRENGTHS:
        searched[c] = []
        for old, new in forward(trained, sample.at_ms):
            if 0 < y[old].sum() < len(y[old]):
                chances = sigmoid(logistic(x[old], y[old], c).logits(x[new]))
                base = np.full(len(y[new]), y[old].mean())
                searched[c].append(
                    Fold(
                        len(y[old]),
                        len(y[new]),
                        float(metrics.losses(y[new], chances).mean()),
                        float(metrics.losses(y[new], base).mean()),
                    )
                )
    c = min(searched, key=lambda each: mean_loss(searched[each]))
    raw = logistic(x[:trained], y[:trained], c)
    slope, shift = calibration(raw.logits(x[trained:cut]), y[trained:cut])
    final = Linear(raw.weights * slope, raw.bias * slope + shift)
    return Fitted(final, (slope, shift), c, searched, trained, cut)


def calibration(
    margins: Matrix, labels: Matrix, least: int = LEAST_TO_CALIBRATE
) -> tuple[float, float]:
    """Platt's slope and shift, or none at all of fewer than ``least`` rows of a kind."""
    if min(labels.sum(), len(labels) - labels.sum()) < least:
        return 1.0, 0.0
    return platt(margins, labels)


def check_kinds(labels: Matrix, trained: int, cut: int, least: int = LEAST_OF_A_KIND) -> None:
    """Refuse what nothing can be learned from, or measured on.

    Raises:
        UserMistake: too few of a kind among what trains, or what judges.
    """
    for part, what in ((labels[:trained], "to learn from"), (labels[cut:], "to judge by")):
        yes = int(part.sum())
        if min(yes, len(part) - yes) < least:
            raise UserMistake(
                f"{yes} of one kind in {len(part)} rows {what}; at least {least} of each "
                "are needed, and one class only teaches nothing. Take more days"
            )
