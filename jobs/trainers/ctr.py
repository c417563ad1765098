"""Click-through: a regularised logistic regression, calibrated, as an ONNX model."""

from __future__ import annotations

from typing import Final

import numpy as np

from jobs.trainers.base import Matrix, Training
from schemas.errors import UserMistake
from scoring.features import BOUND, FEATURES
from scoring.onnx_export import model_record

C: Final = 0.1
HELD_OUT_RATIO: Final = 0.2
LEAST_ROWS: Final = 200
LEAST_OF_A_KIND: Final = 10
GOLDEN_ROWS: Final = 16


def fit(features: Matrix, labels: Matrix, *, version: str, updated_ms: int) -> Training:
    """Fit a click model on rows in the order of time; see `jobs.trainers.base.Trainer`.

    Clicks are rare, so both kinds weigh alike while the slopes are found; the intercept is then
    set so that the mean prediction is the click-through of the training rows. What is published
    is what was measured: there is no second fit over all rows.
    """
    rows = len(labels)
    cut = round(rows * (1 - HELD_OUT_RATIO))
    check(labels, cut)
    # Imported here: three seconds that no other command should pay.
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss, roc_auc_score

    train_x, train_y, test_x, test_y = features[:cut], labels[:cut], features[cut:], labels[cut:]
    mean, deviation = train_x.mean(axis=0), train_x.std(axis=0)
    known = deviation > 1e-9  # a column without variation says nothing
    scale = np.where(known, deviation, 1.0)
    regression = LogisticRegression(C=C, class_weight="balanced", max_iter=1_000)
    regression.fit((train_x - mean) / scale, train_y)
    slopes = np.where(known, regression.coef_[0], 0.0)
    weights = slopes / scale
    bias = _calibrated_bias(train_x @ weights, float(train_y.mean()))
    predicted = _sigmoid(test_x @ weights + bias)
    auc = float(roc_auc_score(test_y, predicted))
    inside = test_x[np.abs(test_x).max(axis=1) <= BOUND][-GOLDEN_ROWS:]
    return Training(
        model=model_record(
            weights.tolist(),
            bias,
            version,
            rows=inside.tolist(),
            auc=auc,
            trained_rows=cut,
            updated_ms=updated_ms,
        ),
        auc=auc,
        log_loss=float(log_loss(test_y, predicted, labels=[0.0, 1.0])),
        base_log_loss=float(
            log_loss(test_y, np.full(len(test_y), train_y.mean()), labels=[0.0, 1.0])
        ),
        rows=rows,
        held_out_rows=rows - cut,
        clicks=int(labels.sum()),
        importance=sorted(
            zip(FEATURES, slopes.tolist(), strict=True), key=lambda pair: -abs(pair[1])
        ),
    )


def check(labels: Matrix, cut: int) -> None:
    """Refuse what nothing can be learned from, or measured on.

    Raises:
        UserMistake: too few rows, or too few of one kind before or after ``cut``.
    """
    if len(labels) < LEAST_ROWS:
        raise UserMistake(
            f"{len(labels)} labelled examples; at least {LEAST_ROWS} are needed. An example is "
            "labelled once its message was clicked or its attribution window has closed."
        )
    for part, name in ((labels[:cut], "older four fifths"), (labels[cut:], "newest fifth")):
        clicks = int(part.sum())
        if min(clicks, len(part) - clicks) < LEAST_OF_A_KIND:
            raise UserMistake(
                f"the {name} of the examples hold {clicks} clicks in {len(part)}; at least "
                f"{LEAST_OF_A_KIND} clicked and as many ignored are needed. Let it run for longer."
            )


def _calibrated_bias(logits: Matrix, rate: float) -> float:
    """The intercept with which the mean probability is ``rate``, by bisection."""
    low, high = -60.0 - float(logits.max()), 60.0 - float(logits.min())
    for _ in range(80):
        middle = (low + high) / 2
        if _sigmoid(logits + middle).mean() < rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _sigmoid(logits: Matrix) -> Matrix:
    odds: Matrix = np.exp(-np.abs(logits))
    chances: Matrix = np.where(logits >= 0, 1.0, odds) / (1.0 + odds)
    return chances
