"""Who will buy: four classifiers compared in the same folds of time, the best exported and proved.

Logistic regression, a random forest, a linear and a radial support vector machine; the baseline is
the mean for everybody. Each is calibrated on rows after those it was fitted on.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
from msgspec import Struct

from jobs.trainers import metrics
from jobs.trainers.base import Matrix
from jobs.trainers.ctr_study import platt, sigmoid
from jobs.trainers.metrics import Measured
from schemas.errors import UserMistake

LEAST_OF_A_KIND: Final = 20
MOST_ROWS: Final = 6_000
"""A radial machine's time grows with the square of the rows; all four learn from one sample."""

FOLDS: Final = 3
PARITY: Final = 1e-4


class Compared(Struct, frozen=True):
    """A classifier on rows after those that it learned from; ``folds`` is its AUC in each."""

    name: str
    accuracy: float
    recall: float
    f1: float
    auc: float
    log_loss: float
    ece: float
    folds: tuple[float, ...]


class Purchase(Struct, frozen=True):
    """The best of them, its file and how far ONNX Runtime's probabilities are from its own."""

    best: str
    compared: list[Compared]
    auc: Measured
    base_log_loss: float
    onnx: bytes
    platt: tuple[float, float]
    parity: float


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


def compare(features: Matrix, labels: Matrix, *, seed: int) -> Purchase:
    """Compare on rows in the order of time; the newest fifth measures.

    Raises:
        UserMistake: too few buyers, or too few who did not buy.
    """
    rng = np.random.default_rng((seed, 91))
    if len(labels) > MOST_ROWS:
        kept = np.sort(rng.choice(len(labels), MOST_ROWS, replace=False))
        features, labels = features[kept], labels[kept]
    x = np.asarray(features, np.float32).astype(np.float64)  # what the file will be given
    train, cut = round(0.6 * len(x)), round(0.8 * len(x))
    for part in (labels[:train], labels[train:cut], labels[cut:]):
        if min(part.sum(), len(part) - part.sum()) < LEAST_OF_A_KIND:
            raise UserMistake(
                f"{int(part.sum())} buyers of {len(part)} customers; at least {LEAST_OF_A_KIND} of "
                "each kind are needed in each part of the time. Take more days"
            )
    compared, fitted = [], {}
    rate = float(labels[:train].mean())
    for name, model in models(seed).items():
        model.fit(x[:train], labels[:train])
        slope, shift = platt(margins(model, x[train:cut]), labels[train:cut])
        scores = sigmoid(slope * margins(model, x[cut:]) + shift)
        fitted[name] = (model, slope, shift, scores)
        compared.append(_measured(name, labels[cut:], scores, rate, _folds(model, x, labels, cut)))
    best = min(compared, key=lambda each: each.log_loss).name
    model, slope, shift, scores = fitted[best]
    onnx = export(model, x.shape[1])
    theirs = run(onnx, x[cut:])
    ours = _raw(model, x[cut:])
    parity = float(np.abs(theirs - ours).max())
    if not parity <= PARITY:
        raise UserMistake(f"the ONNX file of {best} is off by {parity:.2g} from the model itself")
    order = np.argsort(scores, kind="stable")
    sorted_labels, sorted_scores = labels[cut:][order], scores[order]
    return Purchase(
        best=best,
        compared=compared,
        auc=metrics.bootstrap(
            lambda mass: metrics.auc(sorted_labels, sorted_scores, mass), len(order), rng
        ),
        base_log_loss=float(metrics.losses(labels[cut:], np.full(len(x) - cut, rate)).mean()),
        onnx=onnx,
        platt=(slope, shift),
        parity=parity,
    )


def margins(model: Any, x: Matrix) -> Matrix:
    """Log-odds, or the distance from the border, which Platt's sigmoid makes into chances."""
    raw = _raw(model, x)
    if hasattr(model, "predict_proba"):
        clipped = np.clip(raw, 1e-6, 1 - 1e-6)
        odds: Matrix = np.log(clipped / (1 - clipped))
        return odds
    return raw


def export(model: Any, width: int) -> bytes:
    """The ONNX file of a pipeline, without the map that makes its output slow."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    wanted: dict[str, bool] = {"zipmap": False}
    if not hasattr(model, "predict_proba"):
        wanted["raw_scores"] = True
    options = {id(model[-1]): wanted}
    file = to_onnx(
        model, initial_types=[("features", FloatTensorType([None, width]))], options=options
    )
    return bytes(file.SerializeToString())


def run(onnx: bytes, x: Matrix) -> Matrix:
    """What ONNX Runtime gives for the positive class."""
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    found = session.run(None, {"features": x.astype(np.float32)})[1]
    column: Matrix = np.asarray(found, float).reshape(len(x), -1)[:, -1]
    return column


def _raw(model: Any, x: Matrix) -> Matrix:
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(x)[:, 1])
    return np.asarray(model.decision_function(x))


def _folds(model: Any, x: Matrix, labels: Matrix, cut: int) -> tuple[float, ...]:
    from sklearn.base import clone

    edges = np.linspace(0, cut, FOLDS + 2).astype(int)[1:]
    found = []
    for old, new in pairwise(edges):
        if 0 < labels[:old].sum() < old and 0 < labels[old:new].sum() < new - old:
            again = clone(model).fit(x[:old], labels[:old])
            found.append(metrics.auc(labels[old:new], margins(again, x[old:new])))
    return tuple(found)


def _measured(
    name: str, labels: Matrix, scores: Matrix, rate: float, folds: tuple[float, ...]
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
