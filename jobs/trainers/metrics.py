"""How good predicted probabilities are: ranking, calibration, groups, and how sure that is.

All work on weights, so that a bootstrap is one draw of Poisson weights and no copy of the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from jobs.trainers.base import Matrix

CLIP: Final = 1e-12
BINS: Final = 20
LEAST_OF_A_GROUP: Final = 100


class Measured(Struct, frozen=True):
    """A figure and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


class Metrics(Struct, frozen=True):
    """Of predictions on rows that were not trained on."""

    rows: int
    positives: int
    auc: Measured
    log_loss: Measured
    ece: float
    base_log_loss: float


class Bin(Struct, frozen=True):
    """One of the equally large bins of predictions, lowest first."""

    predicted: float
    observed: float
    rows: int


class GroupMetrics(Struct, frozen=True):
    """The same for a group of rows; ``auc`` is None where one kind is missing."""

    group: str
    rows: int
    rate: float
    predicted: float
    auc: float | None
    log_loss: float


def auc(labels: Matrix, scores: Matrix, weights: Matrix | None = None) -> float:
    """P(a positive scores above a negative), ties counting half."""
    order = np.argsort(scores, kind="stable")
    return _sorted_auc(labels[order], scores[order], None if weights is None else weights[order])


def _sorted_auc(labels: Matrix, scores: Matrix, weights: Matrix | None) -> float:
    mass = np.ones(len(labels)) if weights is None else weights
    up, down = mass * labels, mass * (1 - labels)
    starts = np.flatnonzero(np.concatenate(([True], scores[1:] != scores[:-1])))
    ups, downs = np.add.reduceat(up, starts), np.add.reduceat(down, starts)
    below = np.cumsum(downs) - downs
    pairs = ups.sum() * downs.sum()
    return float((ups * (below + downs / 2)).sum() / pairs) if pairs else float("nan")


def losses(labels: Matrix, scores: Matrix) -> Matrix:
    """Log loss of each row."""
    clipped = np.clip(scores, CLIP, 1 - CLIP)
    lost: Matrix = -(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped))
    return lost


def calibration(labels: Matrix, scores: Matrix, bins: int = BINS) -> list[Bin]:
    """Predicted against observed in bins of equally many rows."""
    order = np.argsort(scores, kind="stable")
    return [
        Bin(float(scores[part].mean()), float(labels[part].mean()), len(part))
        for part in np.array_split(order, min(bins, len(order)))
    ]


def ece(labels: Matrix, scores: Matrix, bins: int = BINS) -> float:
    """Expected calibration error: the mean distance of predicted from observed over the bins."""
    found = calibration(labels, scores, bins)
    return sum(abs(b.predicted - b.observed) * b.rows for b in found) / len(labels)


def lift(labels: Matrix, scores: Matrix, parts: int = 10) -> list[float]:
    """How many times the mean rate the best tenth has, the next, and so on."""
    order = np.argsort(-scores, kind="stable")
    mean = labels.mean() or 1.0
    return [float(labels[part].mean() / mean) for part in np.array_split(order, parts)]


def bootstrap(
    figure: Callable[[Matrix], float], rows: int, rng: np.random.Generator, draws: int = 200
) -> Measured:
    """A figure of Poisson weights, with the interval that resampling the rows gives."""
    drawn = [figure(rng.poisson(1.0, rows).astype(np.float64)) for _ in range(draws)]
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return Measured(figure(np.ones(rows)), float(low), float(high))


def measure(
    labels: Matrix, scores: Matrix, base_rate: float, rng: np.random.Generator, draws: int = 200
) -> Metrics:
    """All metrics; ``base_rate`` is what would be predicted for everybody."""
    order = np.argsort(scores, kind="stable")
    labels, scores = labels[order], scores[order]
    lost = losses(labels, scores)
    return Metrics(
        rows=len(labels),
        positives=int(labels.sum()),
        auc=bootstrap(lambda mass: _sorted_auc(labels, scores, mass), len(labels), rng, draws),
        log_loss=bootstrap(lambda mass: float(mass @ lost / mass.sum()), len(labels), rng, draws),
        ece=ece(labels, scores),
        base_log_loss=float(losses(labels, np.full(len(labels), base_rate)).mean()),
    )


def by_group(labels: Matrix, scores: Matrix, groups: NDArray[Any]) -> list[GroupMetrics]:
    """Metrics of each group of at least `LEAST_OF_A_GROUP` rows."""
    lost = losses(labels, scores)
    found = []
    for name in np.unique(groups):
        mine = groups == name
        if (rows := int(mine.sum())) >= LEAST_OF_A_GROUP:
            area = auc(labels[mine], scores[mine])
            found.append(
                GroupMetrics(
                    str(name),
                    rows,
                    float(labels[mine].mean()),
                    float(scores[mine].mean()),
                    None if np.isnan(area) else area,
                    float(lost[mine].mean()),
                )
            )
    return found
