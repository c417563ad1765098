"""Click-through as the night trains it: strength searched, imbalance undone exactly, calibrated.

`jobs.trainers.ctr` fits at one strength in seconds; this chooses the strength by forward chaining
over time, compares ways with rare clicks, and folds what it did to the data back into the weights,
so that what is published is one linear model in the stream's own features.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from jobs.trainers import metrics
from jobs.trainers.base import CALIBRATED, TRAINED, Matrix, Sample, Setup, Trained, Trainer, split
from jobs.trainers.card import Card, Fold, by_groups, data_window, forward
from jobs.trainers.ctr import GOLDEN_ROWS, check
from jobs.trainers.metrics import Bin, GroupMetrics, Metrics
from schemas.model import Model
from scoring.features import BOUND, FEATURES
from scoring.model import verify
from scoring.onnx_export import model_record

STRENGTHS: Final = (0.001, 0.01, 0.1, 1.0)
NEGATIVES_PER_CLICK: Final = 4
SEARCH_ROWS: Final = 60_000
SMOTE_ROWS: Final = 20_000
PARITY_ROWS: Final = 500


class Way(Struct, frozen=True):
    """One way with rare clicks, measured on the newest rows."""

    name: str
    auc: float
    log_loss: float
    ece: float


class Study(Struct, frozen=True):
    """A model and all that is known of it. ``searched`` maps each C to its folds over time."""

    model: Model
    metrics: Metrics
    c: float
    searched: dict[float, list[Fold]]
    ways: list[Way]
    calibration: list[Bin]
    lift: list[float]
    groups: list[GroupMetrics]
    importance: list[tuple[str, float]]
    platt: tuple[float, float]
    scores: Any
    test_from: int


class Linear(Struct, frozen=True):
    """A logistic model in raw features."""

    weights: Matrix
    bias: float

    def logits(self, features: Matrix) -> Matrix:
        """Log-odds of rows."""
        found: Matrix = features @ self.weights + self.bias
        return found


def study(
    features: Matrix,
    labels: Matrix,
    groups: dict[str, NDArray[Any]],
    *,
    version: str,
    updated_ms: int,
    seed: int,
    quick: bool = False,
    edges: tuple[int, int] | None = None,
) -> Study:
    """Train on rows in the order of time; the newest fifth measures and is never trained on.

    The first seven tenths train, the next tenth calibrates (Platt, which folds into the weights),
    unless ``edges`` says up to where rows do either.
    The model's version is ``version`` and a digest of its weights.

    Raises:
        UserMistake: too few rows, or too few of one kind.
    """
    rows = len(labels)
    train, cut = edges or (round(rows * TRAINED), round(rows * CALIBRATED))
    check(labels, cut)
    rng = np.random.default_rng((seed, 61))
    x, y = features[:train], labels[:train]
    searched = _search(x, y, rng, quick)
    c = min(searched, key=lambda each: mean_loss(searched[each]))
    raw = down_sampled(x, y, c, rng)
    slope, shift = platt(raw.logits(features[train:cut]), labels[train:cut])
    final = Linear(raw.weights * slope, raw.bias * slope + shift)
    test_x, test_y = features[cut:], labels[cut:]
    scores = sigmoid(final.logits(test_x))
    inside = test_x[np.abs(test_x).max(axis=1) <= BOUND][-GOLDEN_ROWS:]
    seen = sha256(final.weights.tobytes() + np.float64(final.bias).tobytes()).hexdigest()
    model = model_record(
        final.weights.tolist(),
        float(final.bias),
        f"{version}-{seen[:8]}",
        rows=inside.tolist(),
        auc=metrics.auc(test_y, scores),
        trained_rows=cut,
        updated_ms=updated_ms,
    )
    verify(model)  # the file, its graph, and ONNX Runtime's scores against ours
    deviation = x.std(axis=0)
    ways = [_way("down-sampled, prior corrected, Platt (published)", test_y, scores)]
    if not quick:
        ways += _others(x, y, test_x, test_y, c, rng)
    return Study(
        model=model,
        metrics=metrics.measure(test_y, scores, float(y.mean()), rng, 50 if quick else 200),
        c=c,
        searched=searched,
        ways=ways,
        calibration=metrics.calibration(test_y, scores),
        lift=metrics.lift(test_y, scores),
        groups=by_groups(test_y, scores, {kind: col[cut:] for kind, col in groups.items()}),
        importance=sorted(
            zip(FEATURES, (final.weights * deviation).tolist(), strict=True),
            key=lambda pair: -abs(pair[1]),
        ),
        platt=(slope, shift),
        scores=scores,
        test_from=cut,
    )


def logistic(x: Matrix, y: Matrix, c: float, weights: str | None = None) -> Linear:
    """A fit on standardised features, in raw ones; a column without variation gets nothing."""
    from sklearn.linear_model import LogisticRegression

    mean, deviation = x.mean(axis=0), x.std(axis=0)
    known = deviation > 1e-9
    scale = np.where(known, deviation, 1.0)
    fitted = LogisticRegression(C=c, class_weight=weights, max_iter=300).fit((x - mean) / scale, y)
    slopes = np.where(known, fitted.coef_[0], 0.0) / scale
    return Linear(slopes, float(fitted.intercept_[0] - slopes @ mean))


def down_sampled(x: Matrix, y: Matrix, c: float, rng: np.random.Generator) -> Linear:
    """Fit on every click and some of the rest, and take the change of the prior back exactly.

    Leaving out negatives at random multiplies the odds by one over the share kept, whatever the
    features: the log of that share goes back into the intercept.
    """
    ignored = np.flatnonzero(y == 0)
    keep = min(len(ignored), NEGATIVES_PER_CLICK * int(y.sum()))
    kept = np.sort(
        np.concatenate((np.flatnonzero(y == 1), rng.choice(ignored, keep, replace=False)))
    )
    found = logistic(x[kept], y[kept], c)
    return Linear(found.weights, found.bias + float(np.log(keep / len(ignored))))


def platt(logits: Matrix, labels: Matrix) -> tuple[float, float]:
    """Slope and shift of the log-odds with the least log loss, by Newton's method."""
    slope, shift = 1.0, 0.0
    if not 0 < labels.sum() < len(labels):
        return slope, shift
    for _ in range(50):
        chance = sigmoid(slope * logits + shift)
        off, curve = chance - labels, chance * (1 - chance)
        gradient = np.array([off @ logits, off.sum()])
        hessian = np.array(
            [[curve @ (logits * logits), curve @ logits], [curve @ logits, curve.sum()]]
        ) + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        slope, shift = slope - step[0], shift - step[1]
        if np.abs(step).max() < 1e-10:
            break
    if not (np.isfinite(slope) and np.isfinite(shift) and slope > 0):
        return 1.0, 0.0  # separable or constant: there is nothing to learn a calibration from
    return float(slope), float(shift)


def smote(x: Matrix, rng: np.random.Generator, wanted: int, neighbours: int = 5) -> Matrix:
    """``wanted`` rows between each of ``x`` and one of its neighbours; only to compare with."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=neighbours + 1).fit(x).kneighbors(x)[1][:, 1:]
    base = rng.integers(0, len(x), wanted)
    other = near[base, rng.integers(0, neighbours, wanted)]
    made: Matrix = x[base] + rng.random((wanted, 1)) * (x[other] - x[base])
    return made


def sigmoid(logits: Matrix) -> Matrix:
    """1 / (1 + exp(-logit)), without overflow."""
    odds: Matrix = np.exp(-np.abs(logits))
    chances: Matrix = np.where(logits >= 0, 1.0, odds) / (1.0 + odds)
    return chances


def _search(x: Matrix, y: Matrix, rng: np.random.Generator, quick: bool) -> dict[float, list[Fold]]:
    """What each C loses, trained on what was before and judged on what came after."""
    rows = np.sort(rng.choice(len(y), min(len(y), SEARCH_ROWS), replace=False))
    x, y = x[rows], y[rows]
    found: dict[float, list[Fold]] = {}
    for c in STRENGTHS[2:3] if quick else STRENGTHS:
        found[c] = []
        for old, new in forward(len(y)):
            if 0 < y[old].sum() < len(y[old]) and len(y[new]):
                model = down_sampled(x[old], y[old], c, np.random.default_rng(1))
                lost = metrics.losses(y[new], sigmoid(model.logits(x[new])))
                base = metrics.losses(y[new], np.full(len(y[new]), y[old].mean()))
                found[c].append(
                    Fold(len(y[old]), len(y[new]), float(lost.mean()), float(base.mean()))
                )
    return found


def mean_loss(folds: list[Fold]) -> float:
    """Of the folds together; infinite where there was none."""
    return float(np.mean([fold.loss for fold in folds])) if folds else float("inf")


def _others(
    x: Matrix, y: Matrix, test_x: Matrix, test_y: Matrix, c: float, rng: np.random.Generator
) -> list[Way]:
    """What else one does about rare clicks, and what it costs in calibration."""
    part = np.sort(rng.choice(len(y), min(len(y), SMOTE_ROWS), replace=False))
    small_x, small_y = x[part], y[part]
    clicks, rest = small_x[small_y == 1], small_x[small_y == 0]
    found = [
        _way("class weights, uncorrected", test_y,
             sigmoid(logistic(small_x, small_y, c, "balanced").logits(test_x))),
        _way("as they come", test_y, sigmoid(logistic(small_x, small_y, c).logits(test_x))),
    ]  # fmt: skip
    if len(clicks) > 6 and len(rest) > len(clicks):
        made = smote(clicks, rng, len(rest) - len(clicks))
        both = np.concatenate((small_x, made)), np.concatenate((small_y, np.ones(len(made))))
        found.append(_way("SMOTE", test_y, sigmoid(logistic(*both, c).logits(test_x))))
    found.append(_way("the mean for everybody", test_y, np.full(len(test_y), y.mean())))
    return found


def _way(name: str, labels: Matrix, scores: Matrix) -> Way:
    return Way(
        name,
        metrics.auc(labels, scores),
        float(metrics.losses(labels, scores).mean()),
        metrics.ece(labels, scores),
    )


def fit(sample: Sample, setup: Setup) -> Trained:
    """Train and seal what `study` finds; see `jobs.trainers.base.Trainer`."""
    sample.check()
    found = study(
        sample.features,
        sample.target,
        dict(sample.groups),
        version=setup.version,
        updated_ms=setup.updated_ms,
        seed=setup.seed,
        quick=setup.quick,
        edges=split(sample.at_ms),
    )
    model = verify(found.model)
    at = slice(found.test_from, found.test_from + PARITY_ROWS)
    ours = np.array([model.score(row) for row in np.asarray(sample.features[at]).tolist()])
    card = Card(
        purpose="P(clicked | this message is shown), to rank campaigns and to value offers",
        not_for="choosing the channel, which is the bandit's; customers without marketing consent",
        window=data_window(sample.at_ms),
        rows=len(sample.target),
        trained_until_ms=int(sample.at_ms[found.test_from - 1]),
        metrics=found.metrics,
        baseline="the mean for everybody",
        groups=found.groups,
        notes=(
            f"logistic regression, C = {found.c}; negatives down-sampled, prior corrected; Platt "
            f"slope {found.platt[0]:.4f}, shift {found.platt[1]:+.4f}, folded into the weights",
            "importance is the log-odds that one standard deviation moves",
        ),
        folds=tuple(found.searched[found.c]),
        calibration=tuple(found.calibration),
        lift=tuple(found.lift),
        importance=found.importance,
        parity=float(np.abs(ours - found.scores[: len(ours)]).max()),
    )
    tables: dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]], str]] = {
        "Ways with rare clicks": (
            ("way", "AUC", "log loss", "ECE"),
            [(w.name, w.auc, w.log_loss, w.ece) for w in found.ways],
            "SMOTE only to compare: it teaches a wrong rate",
        ),
        "Strength searched": (
            ("C", "log loss"),
            [(c, mean_loss(folds)) for c, folds in found.searched.items()],
            "L2 strength; trained on what was before, judged on what came next",
        ),
    }
    return Trained(found.model, card, tables)


TRAINER: Final = Trainer("chance", fit, FEATURES)
