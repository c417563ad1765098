"""The click model in force: a logistic regression, and the proof it must pass to get there."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from math import exp, isfinite, log
from operator import mul
from typing import Final, NoReturn

from schemas.errors import RefusedControl
from schemas.model import Golden, Model
from scoring.features import BOUND, FEATURE_HASH, FEATURES

PRIOR_VERSION: Final = "prior"
MAX_ONNX_BYTES: Final = 65_536
MAX_GOLDEN_ROWS: Final = 1_000
MAX_WEIGHT: Final = 1e6
TOLERANCE: Final = 1e-6
_LEAST: Final = 1e-12
"""A probability below this counts as this: no single answer costs without end."""


class LogisticModel:
    """Weights lifted out of a model's graph; immutable."""

    __slots__ = ("bias", "feature_hash", "version", "weights")

    def __init__(
        self, version: str, feature_hash: str, weights: Sequence[float], bias: float
    ) -> None:
        self.version: Final = version
        self.feature_hash: Final = feature_hash
        self.weights: Final = tuple(weights)
        self.bias: Final = bias

    def score(self, vector: Sequence[float]) -> float:
        """The probability of a click, for features in the order of `FEATURES`."""
        logit = sum(map(mul, self.weights, vector), self.bias)
        if logit >= 0:
            return 1.0 / (1.0 + exp(-logit))
        odds = exp(logit)  # of a negative number, so it cannot overflow
        return odds / (1.0 + odds)


def log_loss(score: float, clicked: int) -> float:
    """What one answer costs whoever promised a click with this probability, in nats."""
    return -log(max(score if clicked else 1.0 - score, _LEAST))


def prior_model(rate: float) -> LogisticModel:
    """What scores when no model is in force: the same ``rate``, in (0, 1), for everybody."""
    weights = (0.0,) * len(FEATURES)
    return LogisticModel(PRIOR_VERSION, FEATURE_HASH, weights, log(rate / (1 - rate)))


def verify(record: Model) -> LogisticModel:
    """Prove a model before it goes live.

    The file must be whole (SHA-256), be made for our features, and hold exactly the graph that
    `scoring.onnx_export.to_onnx` writes for its weights: anything else in it, from another
    operator to a reference to a file outside, is refused before a runtime sees it. Then both the
    lifted weights and ONNX Runtime must give the golden outputs for the golden inputs.

    Raises:
        RefusedControl: refused_model, with what is wrong.
    """
    if record.feature_hash != FEATURE_HASH:
        _refuse(record, f"its features are {record.feature_hash!r}, ours {FEATURE_HASH!r}")
    if record.version == PRIOR_VERSION:
        _refuse(record, "the name 'prior' means that there is no model")
    data = _file_of(record)
    # Imported here: half a second that only a process which receives models should pay.
    from scoring.onnx_export import WrongGraph, lift, run

    try:
        weights, bias = lift(data, record.version)
    except WrongGraph as error:
        _refuse(record, str(error))
    if not all(isfinite(weight) and abs(weight) <= MAX_WEIGHT for weight in (*weights, bias)):
        _refuse(record, f"a weight is not finite or beyond {MAX_WEIGHT:g}; the fit diverged")
    model = LogisticModel(record.version, record.feature_hash, weights, bias)
    golden = record.golden
    _check_shape(record, golden)
    _check_scores(record, "the lifted weights", map(model.score, golden.inputs))
    _check_scores(record, "ONNX Runtime", run(data, golden.inputs))
    return model


def _file_of(record: Model) -> bytes:
    if len(record.onnx) > MAX_ONNX_BYTES * 4 // 3 + 4:
        _refuse(record, f"its file is larger than {MAX_ONNX_BYTES} bytes")
    try:
        data = base64.b64decode(record.onnx, validate=True)
    except (binascii.Error, ValueError) as error:
        _refuse(record, f"its file is not base64: {error}")
    found = hashlib.sha256(data).hexdigest()
    if found != record.sha256:
        _refuse(record, f"its file has the SHA-256 {found[:12]}…, not {record.sha256[:12]}…")
    return data


def _check_shape(record: Model, golden: Golden) -> None:
    """Golden vectors must be ours in width and range, and between them move every feature."""
    inputs, outputs = golden.inputs, golden.outputs
    if not 0 < len(inputs) <= MAX_GOLDEN_ROWS or len(inputs) != len(outputs):
        _refuse(
            record,
            f"{len(inputs)} golden inputs and {len(outputs)} outputs; "
            f"as many of both are needed, up to {MAX_GOLDEN_ROWS}",
        )
    if any(len(row) != len(FEATURES) for row in inputs):
        _refuse(record, f"a golden input has not {len(FEATURES)} features")
    if not all(abs(value) <= BOUND for row in inputs for value in row):
        _refuse(record, f"a golden input is not a number within ±{BOUND:g}")
    for name, column in zip(FEATURES, zip(*inputs, strict=True), strict=True):
        if min(column) == max(column):
            _refuse(record, f"the golden inputs do not try the feature {name}")


def _check_scores(record: Model, what: str, scores: Iterable[float]) -> None:
    for row, (score, promised) in enumerate(zip(scores, record.golden.outputs, strict=True)):
        # Written so that NaN on either side fails.
        if not (0.0 <= score <= 1.0 and 0.0 <= promised <= 1.0):
            _refuse(record, f"golden row {row}: {what} or the promise is no probability")
        if not abs(score - promised) <= TOLERANCE:
            _refuse(record, f"golden row {row}: {what} give {score:.9f}, not {promised:.9f}")


def _refuse(record: Model, why: str) -> NoReturn:
    raise RefusedControl("refused_model", f"model {record.version!r}: {why}")
