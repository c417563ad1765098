"""What every trainer takes and gives, and how examples become rows."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.control import Model
from schemas.learning import Example, Reward
from scoring.features import FEATURE_HASH, FEATURES

Matrix = NDArray[np.float64]


class Rows(NamedTuple):
    """Labelled examples, oldest first, and how many were left out and why."""

    features: Matrix
    labels: Matrix
    skipped: dict[str, int]

    def digest(self) -> str:
        """Eight hex digits that name these very rows."""
        return hashlib.sha256(self.features.tobytes() + self.labels.tobytes()).hexdigest()[:8]


class Training(NamedTuple):
    """A model and how well it does on the newest rows, which it was not trained on.

    ``log_loss`` compares with ``base_log_loss``, that of predicting the mean for everybody;
    ``importance`` holds each feature's coefficient for one standard deviation, strongest first.
    """

    model: Model
    auc: float
    log_loss: float
    base_log_loss: float
    rows: int
    held_out_rows: int
    clicks: int
    importance: list[tuple[str, float]]


class Trainer(Protocol):
    """Fits rows in the order of time; the caller names the version and the time."""

    def __call__(
        self, features: Matrix, labels: Matrix, *, version: str, updated_ms: int
    ) -> Training:
        """Fit, hold out the newest rows, measure on them.

        Raises:
            UserMistake: too few rows, or too few of one kind.
        """


def join(records: Iterable[Example | Reward]) -> Rows:
    """Give each example the label that its reward says; a repeated record changes nothing.

    A click outweighs an expiry. Left out: held-out customers, who were never shown anything;
    examples that nothing has become of yet; features of another release.
    """
    shown: dict[str, tuple[int, array[float]]] = {}
    clicked: dict[str, bool] = {}
    skipped = {"held_out": 0, "other_features": 0, "not_answered_yet": 0}
    for record in records:
        if isinstance(record, Reward):
            if record.kind != "converted":
                name = record.decision_id
                clicked[name] = clicked.get(name, False) or record.kind == "clicked"
        elif record.holdout:
            skipped["held_out"] += 1
        elif record.feature_hash != FEATURE_HASH or len(record.features) != len(FEATURES):
            skipped["other_features"] += 1
        else:
            shown[record.decision_id] = (record.decided_at_ms, array("d", record.features))
    answered = sorted((at_ms, name) for name, (at_ms, _) in shown.items() if name in clicked)
    skipped["not_answered_yet"] = len(shown) - len(answered)
    features = np.empty((len(answered), len(FEATURES)))
    for place, (_, name) in enumerate(answered):
        features[place] = shown[name][1]
    labels = np.array([float(clicked[name]) for _, name in answered])
    return Rows(features, labels, skipped)
