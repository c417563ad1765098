"""Who will buy: four classifiers compared in the same folds of time, the best exported and proved.

Logistic regression, a random forest, a linear and a radial support vector machine; the baseline is
the mean for everybody. Each is calibrated on rows after those it was fitted on.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from msgspec import Struct

from jobs.trainers import metrics
from jobs.trainers.base import Matrix, Sample, Setup, Trained, Trainer, named, split
from jobs.trainers.card import Card, Fold, data_window, evidence, forward
from jobs.trainers.ctr_study import mean_loss, sigmoid
from jobs.trainers.learned import learned, run
from jobs.trainers.linear import LEAST_TO_CALIBRATE, calibration, check_kinds
from schemas.errors import UserMistake

MOST_TRAINED: Final = 4_000
MOST_JUDGED: Final = 20_000
"""A radial machine's time grows with the square of the rows; all four learn from one sample."""

PARITY: Final = 1e-4
CLIP: Final = 1e-6


class Compared(Struct, frozen=True):
    """A classifier on rows after those that it learned from; ``folds`` are over time."""

    name: str
    accuracy: float
    recall: float
    f1: float
    auc: float
    log_loss: float
    ece: float
    folds: tuple[Fold, ...]


class Classifier(Struct, frozen=True):
    """A fitted one with Platt's slope and shift, and its chances for the rows that judge."""

    model: Any
    platt: tuple[float, float]
    scores: Matrix


def models(seed: int) -> dict[str, Any]:
    """The classifiers, with a scaler where they need one."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)),
        # Trees need no scaler, and one in single precision would move rows across their splits.
        "random forest": make_pipeline(
            RandomForestClassifier(150, min_samples_leaf=10, random_state=seed, n_jobs=1)
        ),
        "linear SVM": make_pipeline(StandardScaler(), SVC(kernel="linear", C=0.1)),
        "RBF SVM": make_pipeline(StandardScaler(), SVC(kernel="rbf", C=1.0)),
    }


def fit(sample: Sample, setup: Setup) -> Trained:
    """Compare on rows in the order of time and export the best; see `Trainer`.

    The best is that of the least log loss in forward chaining: the newest rows only judge it.

    Raises:
        UserMistake: too few buyers, or too few who did not buy; or the file disagrees.
    """
    sample.check()
    sample, trained, cut = _sampled(sample, np.random.default_rng((setup.seed, 91)))
    x = np.asarray(sample.features, np.float32).astype(np.float64)  # what the file will be given
    y = sample.target
    check_kinds(y, trained, cut)
    rate = float(y[:trained].mean())
    compared: list[Compared] = []
    fitted: dict[str, Classifier] = {}
    for name, model in models(setup.seed).items():
        model.fit(x[:trained], y[:trained])
        slope, shift = calibration(margins(model, x[trained:cut]), y[trained:cut], _least(model))
        scores = sigmoid(slope * margins(model, x[cut:]) + shift)
        fitted[name] = Classifier(model, (slope, shift), scores)
        folds = _folds(model, x[:trained], y[:trained], sample.at_ms, setup.quick)
        compared.append(_measured(name, y[cut:], scores, rate, folds))
    best = min(compared, key=lambda each: mean_loss(list(each.folds)))
    winner = fitted[best.name]
    data = export(winner, x.shape[1])
    parity = float(np.abs(run(data, x[cut:]) - winner.scores).max())
    if not parity <= PARITY:
        raise UserMistake(
            f"the ONNX file of {best.name} is off by {parity:.2g} from the model itself"
        )
    card = Card(
        purpose="P(buys within the horizon), to choose whom a campaign is worth its cost for",
        not_for="prices or credit; customers of whom nothing but a visit is known",
        window=data_window(sample.at_ms),
        rows=len(y),
        trained_until_ms=int(sample.at_ms[cut - 1]),
        baseline="the mean for everybody",
        notes=(
            f"{best.name}, the best of {len(compared)} by log loss over the folds; Platt slope "
            f"{winner.platt[0]:.4f}, shift {winner.platt[1]:+.4f}, built into the graph",
            "importance is the log loss that shuffling the input costs",
        ),
        folds=best.folds,
        importance=_importance(winner, x[cut:], y[cut:], sample.names, setup),
        parity=parity,
        **evidence(sample, cut, y[cut:], winner.scores, rate, setup),
    )
    version = named(setup.version, data)
    record = learned("purchase", version, data, sample.names, x[cut:], setup.updated_ms)
    columns = ("model", "accuracy", "recall", "F1", "AUC", "log loss", "ECE", "loss by fold")
    rows = [
        (c.name, c.accuracy, c.recall, c.f1, c.auc, c.log_loss, c.ece,
         " ".join(f"{fold.loss:.4f}" for fold in c.folds))
        for c in compared
    ]  # fmt: skip
    note = (
        "a buyer is said where the score is above the usual rate; all calibrated by Platt on rows "
        "after those they learned from"
    )
    return Trained(record, card, {"Compared": (columns, list(rows), note)})


def _sampled(sample: Sample, rng: np.random.Generator) -> tuple[Sample, int, int]:
    """Fewer rows, still in the order of time, and where training and calibration end in them."""
    trained, cut = split(sample.at_ms)
    places = []
    for begin, end, most in (
        (0, trained, MOST_TRAINED),
        (trained, cut, MOST_TRAINED),
        (cut, len(sample.target), MOST_JUDGED),
    ):
        chosen = rng.choice(end - begin, min(most, end - begin), replace=False)
        places.append(begin + np.sort(chosen))
    kept = np.concatenate(places)
    smaller = sample._replace(
        features=sample.features[kept],
        target=sample.target[kept],
        at_ms=sample.at_ms[kept],
        groups={kind: column[kept] for kind, column in sample.groups.items()},
    )
    return smaller, len(places[0]), len(places[0]) + len(places[1])


def margins(model: Any, x: Matrix) -> Matrix:
    """Log-odds, or the distance from the border, which Platt's sigmoid makes into chances."""
    raw = _raw(model, x)
    if hasattr(model, "predict_proba"):
        clipped = np.clip(raw, CLIP, 1 - CLIP)
        odds: Matrix = np.log(clipped / (1 - clipped))
        return odds
    return raw


def export(found: Classifier, width: int) -> bytes:
    """The ONNX file of a pipeline with its calibration."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    from jobs.trainers import graphs

    chances = hasattr(found.model, "predict_proba")
    # The map that it would make of its output is slow, and no part of what we serve.
    wanted = {"zipmap": False} if chances else {"zipmap": False, "raw_scores": True}
    file = to_onnx(
        found.model,
        initial_types=[("features", FloatTensorType([None, width]))],
        options={id(found.model[-1]): wanted},
    )
    return graphs.calibrated(file.SerializeToString(), found.platt, chances=chances)


def _raw(model: Any, x: Matrix) -> Matrix:
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(x)[:, 1])
    return np.asarray(model.decision_function(x))


def _least(model: Any) -> int:
    """Rows of a kind that its calibration needs: distances are nothing without one."""
    return LEAST_TO_CALIBRATE if hasattr(model, "predict_proba") else 3


def _folds(model: Any, x: Matrix, labels: Matrix, at_ms: Any, quick: bool) -> tuple[Fold, ...]:
    from sklearn.base import clone

    found = []
    for old, new in list(forward(len(x), at_ms))[-1 if quick else 0 :]:
        if not 0 < labels[old].sum() < len(labels[old]):
            continue
        # Distances are no chances, and a forest is sure of what it learned: rows after those that
        # it learned from give them their scale.
        edge = old.stop - max(1, old.stop // 4)
        if not 0 < labels[:edge].sum() < edge:
            continue
        again = clone(model).fit(x[:edge], labels[:edge])
        known = labels[edge : old.stop]
        slope, shift = calibration(margins(again, x[edge : old.stop]), known, _least(model))
        chances = sigmoid(slope * margins(again, x[new]) + shift)
        base = np.full(len(labels[new]), labels[old].mean())
        lost, idle = (float(metrics.losses(labels[new], s).mean()) for s in (chances, base))
        found.append(Fold(len(labels[old]), len(labels[new]), lost, idle))
    return tuple(found)


def _importance(
    found: Classifier, x: Matrix, labels: Matrix, names: tuple[str, ...], setup: Setup
) -> list[tuple[str, float]]:
    """By how much the log loss grows when an input says nothing, strongest first."""
    rng = np.random.default_rng((setup.seed, 92))
    rows = rng.choice(len(x), min(len(x), 2_000), replace=False)
    x, labels = x[rows], labels[rows]

    def loss(rows: Matrix) -> float:
        scores = sigmoid(found.platt[0] * margins(found.model, rows) + found.platt[1])
        return float(metrics.losses(labels, scores).mean())

    whole, moved = loss(x), []
    for place, name in enumerate(names):
        other = x.copy()
        other[:, place] = rng.permutation(other[:, place])
        moved.append((name, loss(other) - whole))
    return sorted(moved, key=lambda pair: -abs(pair[1]))


def _measured(
    name: str, labels: Matrix, scores: Matrix, rate: float, folds: tuple[Fold, ...]
) -> Compared:
    """Counts are of who scores above the usual rate: buyers are few, and one half says nobody."""
    said = scores >= rate
    hit = float((said & (labels == 1)).sum())
    recall = hit / labels.sum()
    precision = hit / max(1, said.sum())
    return Compared(
        name=name,
        accuracy=float((said == (labels == 1)).mean()),
        recall=float(recall),
        f1=float(2 * precision * recall / max(1e-12, precision + recall)),
        auc=metrics.auc(labels, scores),
        log_loss=float(metrics.losses(labels, scores).mean()),
        ece=metrics.ece(labels, scores, 10),
        folds=folds,
    )


TRAINER: Final = Trainer("chance", fit)
