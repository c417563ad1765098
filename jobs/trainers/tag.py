"""A static tag out of behaviour: whether something holds of a customer, and how sure that is.

A model learns from those of whom it is known and judges itself by those of them who came last. What
is said of a customer is only what it is sure enough of; the caller leaves out who did not agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from jobs.trainers.base import Matrix, Sample, Setup, Trained, named
from jobs.trainers.card import Card, data_window, evidence
from jobs.trainers.ctr_study import sigmoid
from jobs.trainers.learned import learned, run
from jobs.trainers.linear import LEAST_OF_A_KIND, fit_logistic

LEAST_CONFIDENCE: Final = 0.7
"""Below it nothing is said: a wrong guess offends, and none costs nothing."""

LEVELS: Final = (0.5, 0.6, 0.7, 0.8, 0.9)


class About(NamedTuple):
    """What a tag is for, for its card; ``positive`` is what the chance is of, ``least`` how many
    of either kind it takes to learn, and to judge.
    """

    name: str
    positive: str
    purpose: str
    not_for: str
    baseline: str
    least: int = LEAST_OF_A_KIND


def fitting(about: About) -> Callable[[Sample, Setup], Trained]:
    """The ``fit`` of a trainer. Rows are customers, by when they were first seen."""

    def fit(sample: Sample, setup: Setup) -> Trained:
        from jobs.trainers import graphs

        sample.check()
        found = fit_logistic(sample, setup.quick, about.least)
        x, y, cut = sample.features, sample.target, found.cut
        scores = sigmoid(found.linear.logits(x[cut:]))
        data = graphs.linear(found.linear.weights.tolist(), found.linear.bias, "sigmoid")
        rate = float(y[: found.trained].mean())
        card = Card(
            purpose=about.purpose,
            not_for=about.not_for,
            window=data_window(sample.at_ms),
            rows=len(y),
            trained_until_ms=int(sample.at_ms[cut - 1]),
            baseline=about.baseline,
            notes=(
                f"logistic regression, C = {found.c}; Platt slope {found.platt[0]:.4f}, shift "
                f"{found.platt[1]:+.4f}, folded into the weights",
                f"withheld below a confidence of {LEAST_CONFIDENCE}",
                f"importance is the log-odds of {about.positive} that one standard deviation moves",
            ),
            folds=tuple(found.searched[found.c]),
            importance=sorted(
                zip(sample.names, (found.linear.weights * x.std(axis=0)).tolist(), strict=True),
                key=lambda pair: -abs(pair[1]),
            ),
            parity=float(np.abs(run(data, x[cut:]) - scores).max()),
            **evidence(sample, cut, y[cut:], scores, rate, setup),
        )
        version = named(setup.version, data)
        model = learned(about.name, version, data, sample.names, x[cut:], setup.updated_ms)
        tables = {
            "Confidence and what it costs": (
                ("least confidence", "told of", "right", "right if all were the more frequent"),
                told(y[cut:], scores),
                f"on the customers who came last; below {LEAST_CONFIDENCE} nothing is said",
            )
        }
        return Trained(model, card, tables)

    return fit


def told(labels: Matrix, scores: Matrix) -> list[tuple[float, float, float | None, float]]:
    """Of each least confidence: the share of customers of whom something is said, and how much of
    it is right.
    """
    rows = []
    usual = float(max(labels.mean(), 1 - labels.mean()))
    for level in LEVELS:
        sure = np.maximum(scores, 1 - scores) >= level
        right = float(((scores >= 0.5) == (labels == 1))[sure].mean()) if sure.any() else None
        rows.append((level, float(sure.mean()), right, usual))
    return rows
