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

_LEAST_RATE: Final = 0.01
_PAIRS: Final = 20_000


class Measured(Struct, frozen=True):
    """A figure and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


class Metrics(Struct, frozen=True):
    """Of predictions on rows that were not trained on.

    Of counts, ``auc`` is how often the larger of two has the greater prediction, ``log_loss`` is
    Poisson's, and ``ece`` is relative to what was counted; only they have an ``error``, which is
    the sum of absolute errors over the sum, and ``r2``.
    """

    rows: int
    positives: int
    auc: Measured
    log_loss: Measured
    ece: float
    base_log_loss: float
    error: Measured | None = None
    base_error: float | None = None
    r2: float | None = None


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


def measure_counts(
    counts: Matrix, rates: Matrix, base: Matrix, rng: np.random.Generator, draws: int = 200
) -> Metrics:
    """All metrics of predicted rates of counts; ``base`` are the baseline's rates, row by row."""
    lost, off = poisson_losses(counts, rates), np.abs(counts - rates)
    spread = float(((counts - counts.mean()) ** 2).sum())
    total = max(1.0, float(counts.sum()))
    one, other = rng.integers(0, len(counts), (2, _PAIRS))
    agree = np.sign(counts[one] - counts[other]) * np.sign(rates[one] - rates[other])
    right = (1 + agree[counts[one] != counts[other]]) / 2

    def mean(values: Matrix) -> Callable[[Matrix], float]:
        return lambda mass: float(mass @ values / max(1e-12, mass.sum()))

    def relative(mass: Matrix) -> float:
        return float(mass @ off / max(1.0, float(mass @ counts)))

    return Metrics(
        rows=len(counts),
        positives=int((counts > 0).sum()),
        auc=bootstrap(mean(right), len(right), rng, draws),
        log_loss=bootstrap(mean(lost), len(counts), rng, draws),
        ece=sum(abs(b.predicted - b.observed) * b.rows for b in calibration(counts, rates, 10))
        / total,
        base_log_loss=float(poisson_losses(counts, base).mean()),
        error=bootstrap(relative, len(counts), rng, draws),
        base_error=float(np.abs(counts - base).sum()) / total,
        r2=1 - float(((counts - rates) ** 2).sum()) / spread if spread else 0.0,
    )


def poisson_losses(counts: Matrix, rates: Matrix) -> Matrix:
    """Negative log likelihood of each count under its rate."""
    from scipy.special import gammaln

    sure = np.maximum(rates, _LEAST_RATE)
    lost: Matrix = sure - counts * np.log(sure) + gammaln(counts + 1)
    return lost


def by_group(
    labels: Matrix,
    scores: Matrix,
    groups: NDArray[Any],
    lost: Matrix | None = None,
    least: int = LEAST_OF_A_GROUP,
) -> list[GroupMetrics]:
    """Metrics of each group of at least ``least`` rows; ``lost`` as of `losses` if left out."""
    chances = lost is None
    lost = losses(labels, scores) if lost is None else lost
    found = []
    for name in np.unique(groups):
        mine = groups == name
        if (rows := int(mine.sum())) >= least:
            area = auc(labels[mine], scores[mine]) if chances else float("nan")
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
