"""What every trainer takes and gives, and how examples become rows."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UserMistake
from schemas.learning import LABELS, Example, Reward
from schemas.model import Model
from scoring.features import FEATURE_HASH, FEATURES

if TYPE_CHECKING:
    from jobs.trainers.card import Card
    from jobs.trainers.learned import Learned

Matrix = NDArray[np.float64]

TRAINED: Final = 0.7
CALIBRATED: Final = 0.8
"""Shares of the rows, oldest first, that train, and up to which they calibrate; the rest judge."""

Target = Literal["chance", "duration", "count"]
"""What is learned: whether something happens, after how many days, or how many."""


class Sample(NamedTuple):
    """What to learn from: rows in the order of ``at_ms``, oldest first.

    ``target`` is 0 or 1 of a chance, days of a duration, a number of a count. ``seen`` is 1 where
    the end of a duration was seen, and 0 where it is only known to be longer. ``base`` is what the
    baseline says of a count. ``groups`` has, by kind, the group of each row: what metrics are told
    by, and never an input.
    """

    names: tuple[str, ...]
    features: Matrix
    target: Matrix
    at_ms: NDArray[np.int64]
    groups: Mapping[str, NDArray[Any]] = {}
    seen: Matrix | None = None
    base: Matrix | None = None

    def check(self) -> None:
        """Refuse what must not be trained on.

        Raises:
            UserMistake: a gap, a clock that ran backwards, or columns of unequal length.
        """
        rows = len(self.target)
        columns = [self.features, self.at_ms, *self.groups.values()]
        columns += [each for each in (self.seen, self.base) if each is not None]
        if any(len(each) != rows for each in columns) or self.features.ndim != 2:
            raise UserMistake(f"the columns of {rows} rows are not all as long; build them anew")
        if self.features.shape[1] != len(self.names):
            raise UserMistake(f"{self.features.shape[1]} columns, {len(self.names)} names of them")
        for each in (self.target, self.seen, self.base):
            if each is not None and not np.isfinite(each).all():
                raise UserMistake(
                    f"{int((~np.isfinite(each)).sum())} of {rows} labels are no number; mend the "
                    "partition that they come from"
                )
        for place, name in enumerate(self.names):
            if not np.isfinite(self.features[:, place]).all():
                raise UserMistake(f"the input {name!r} has gaps; fill them before training")
        if rows and (np.diff(self.at_ms) < 0).any():
            raise UserMistake("rows are not in the order of time; did a clock run backwards?")


class Setup(NamedTuple):
    """``version`` is how the model's begins (a digest follows), ``seed`` of all that is drawn."""

    version: str
    updated_ms: int
    seed: int = 42
    quick: bool = False


class Trained(NamedTuple):
    """A model, what is to be known of it, and tables for people: title → columns and rows."""

    model: Model | Learned
    card: Card
    tables: Mapping[str, tuple[tuple[str, ...], list[tuple[Any, ...]], str]] = {}


class Trainer(NamedTuple):
    """One of `jobs.trainers.TRAINERS`; ``names`` are its inputs where they are always the same.

    ``fit`` raises `UserMistake` where there is too little, or nothing, to learn.
    """

    target: Target
    fit: Callable[[Sample, Setup], Trained]
    names: tuple[str, ...] = ()


def split(at_ms: NDArray[np.int64]) -> tuple[int, int]:
    """Up to where rows train, and up to where they calibrate: near `TRAINED` and `CALIBRATED` of
    them. Rows of one moment are never parted.

    Raises:
        UserMistake: there are fewer than three moments.
    """
    edges = np.flatnonzero(np.diff(at_ms)) + 1
    if len(edges) < 2:
        raise UserMistake(
            f"rows of {len(edges) + 1} moments; three are needed to train, calibrate and judge. "
            "Take more days"
        )
    rows = len(at_ms)
    cut = int(edges[1:][np.argmin(np.abs(edges[1:] - CALIBRATED * rows))])
    earlier = edges[edges < cut]
    return int(earlier[np.argmin(np.abs(earlier - TRAINED * rows))]), cut


def named(prefix: str, *parts: bytes) -> str:
    """A version that says when, and by a digest of its parts, what."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return f"{prefix}-{whole.hexdigest()[:8]}"


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
