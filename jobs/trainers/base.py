"""What every trainer takes and gives, and how examples become rows."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.control import Model
from schemas.learning import LABELS, Example, Reward
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
    examples that nothing has become of; features of another release; and of each campaign what
    is newer than its newest expiry. Clicks come at once and expiries only when the attribution
    window closes, so among the newest rows nearly all that are answered are clicks.
    """
    shown: dict[str, tuple[int, str, array[float]]] = {}
    clicked: dict[str, bool] = {}
    skipped = {"held_out": 0, "other_features": 0, "not_answered": 0, "window_open": 0}
    for record in records:
        if isinstance(record, Reward):
            if record.kind in LABELS:
                name = record.decision_id
                clicked[name] = clicked.get(name, False) or record.kind == "clicked"
        elif record.holdout:
            skipped["held_out"] += 1
        elif record.feature_hash != FEATURE_HASH or len(record.features) != len(FEATURES):
            skipped["other_features"] += 1
        else:
            shown[record.decision_id] = (
                record.decided_at_ms,
                record.campaign_id,
                array("d", record.features),
            )
    moments = {name: (at_ms, campaign) for name, (at_ms, campaign, _) in shown.items()}
    rows = closed(moments, clicked)
    answered = sum(1 for name in shown if name in clicked)
    skipped["not_answered"] = len(shown) - answered
    skipped["window_open"] = answered - len(rows)
    features = np.empty((len(rows), len(FEATURES)))
    for place, name in enumerate(rows):
        features[place] = shown[name][2]
    labels = np.array([float(clicked[name]) for name in rows])
    return Rows(features, labels, skipped)


def closed(shown: Mapping[str, tuple[int, str]], clicked: Mapping[str, bool]) -> list[str]:
    """Those of the decisions (time and campaign) whose answers are all in, oldest first.

    They are those that are no newer than the newest of their campaign that was not clicked.
    """
    closed_ms: dict[str, int] = {}
    close(closed_ms, shown, clicked)
    return [
        name
        for _, name in sorted(
            (at_ms, name)
            for name, (at_ms, campaign) in shown.items()
            if name in clicked and at_ms <= closed_ms.get(campaign, -1)
        )
    ]


def close(
    closed_ms: dict[str, int],
    shown: Mapping[str, tuple[int, str]],
    clicked: Mapping[str, bool],
) -> None:
    """Raise each campaign's time up to which all answers are in, to its newest expiry."""
    for name, (at_ms, campaign) in shown.items():
        if clicked.get(name) is False:
            closed_ms[campaign] = max(at_ms, closed_ms.get(campaign, 0))
