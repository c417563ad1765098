"""A model's card: what it is for, what it was made of and how well it does; one form for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from jobs.trainers import metrics
from jobs.trainers.base import Matrix, Sample, Setup
from jobs.trainers.metrics import Bin, GroupMetrics, Metrics

FOLDS: Final = 3


class Fold(Struct, frozen=True):
    """One fold of forward chaining: trained on the ``trained`` oldest rows, judged on what came
    next; ``base_loss`` is the baseline's there.
    """

    trained: int
    judged: int
    loss: float
    base_loss: float


class Card(Struct, frozen=True):
    """What people should know before they use a model.

    Rows newer than ``trained_until_ms`` had no part in it, so it may be judged on them;
    ``metrics``, ``calibration``, ``lift`` and ``groups`` are of such rows. ``importance`` is what
    each input moves, strongest first; its unit is in the notes. ``parity`` is the largest
    difference between the file's own output and what was measured.
    """

    purpose: str
    not_for: str
    window: tuple[str, str]
    rows: int
    trained_until_ms: int
    metrics: Metrics
    baseline: str
    groups: list[GroupMetrics] = []
    notes: tuple[str, ...] = ()
    folds: tuple[Fold, ...] = ()
    calibration: tuple[Bin, ...] = ()
    lift: tuple[float, ...] = ()
    importance: list[tuple[str, float]] = []
    parity: float = 0.0

    @property
    def beats_baseline(self) -> bool:
        """Whether it is worth more than its baseline; one that is not is never used."""
        return self.metrics.log_loss.value < self.metrics.base_log_loss


def data_window(at_ms: Any) -> tuple[str, str]:
    """The first and last moment of rows, for people."""
    first, last = (
        datetime.fromtimestamp(int(each) / 1_000, UTC).isoformat("T", "seconds")
        for each in (at_ms[0], at_ms[-1])
    )
    return first, last


def forward(
    rows: int, at_ms: NDArray[np.int64] | None = None, folds: int = FOLDS
) -> Iterator[tuple[slice, slice]]:
    """Forward chaining over rows in the order of time: the older part, and what came next.

    With their times, rows of one moment are on one side of an edge.
    """
    edges = np.linspace(0, rows, folds + 2).astype(int)[1:]
    if at_ms is not None:
        inner = np.searchsorted(at_ms[:rows], at_ms[edges[:-1]])
        edges = np.unique((*inner[inner > 0], rows))
    for old, new in pairwise(edges):
        yield slice(0, int(old)), slice(int(old), int(new))


def by_groups(
    labels: Matrix,
    scores: Matrix,
    groups: Mapping[str, NDArray[Any]],
    lost: Matrix | None = None,
    least: int = metrics.LEAST_OF_A_GROUP,
) -> list[GroupMetrics]:
    """Metrics of each group of each kind, named ``kind: group``; see `metrics.by_group`."""
    return [
        found
        for kind, column in groups.items()
        for found in metrics.by_group(
            labels, scores, np.char.add(f"{kind}: ", column.astype(str)), lost, least
        )
    ]


def evidence(
    sample: Sample,
    cut: int,
    labels: Matrix,
    scores: Matrix,
    base_rate: float,
    setup: Setup,
    mine: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """What a card says of chances for the rows from ``cut`` on (those of them that are ``mine``):
    its ``metrics``, ``groups``, ``calibration`` and ``lift``.
    """
    rng = np.random.default_rng((setup.seed, 17))
    kept = np.ones(len(sample.target) - cut, bool) if mine is None else mine
    groups = {kind: column[cut:][kept] for kind, column in sample.groups.items()}
    return {
        "metrics": metrics.measure(labels, scores, base_rate, rng, 50 if setup.quick else 200),
        "groups": by_groups(labels, scores, groups),
        "calibration": tuple(metrics.calibration(labels, scores)),
        "lift": tuple(metrics.lift(labels, scores)),
    }
