"""What the stream's own learner had come to, as a candidate for the night's gate.

Its weights are written as the very graph that the stream serves, and the file must give what the
learner itself said of the golden rows. The figures on its card are of rows that came later, as the
gate's are.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Final

import msgspec
import numpy as np

from jobs.models.judge import LEAST_ROWS
from jobs.trainers.base import Matrix, Sample, Setup, Trained, named
from jobs.trainers.card import Card, data_window, evidence
from jobs.trainers.ctr_study import sigmoid
from schemas.errors import RefusedControl, UserMistake
from schemas.model import Challenger, LearnedDay
from scoring.features import BOUND, FEATURE_HASH, FEATURES
from scoring.model import verify
from scoring.onnx_export import model_record, run

PARITY: Final = 1e-9
"""The most by which the file may differ from the learner; rounding alone is a thousandth of it."""
_ROWS: Final = 2_000
_GOLDEN: Final = 16


def newest_to_judge(record: Challenger, sample: Sample) -> tuple[LearnedDay, int] | None:
    """The latest of its days that enough rows came after, and the first of those rows."""
    for day in reversed(record.days):
        cut = int(np.searchsorted(sample.at_ms, day.until_ms, "right"))
        if len(sample.target) - cut >= LEAST_ROWS:
            return day, cut
    return None


def export(record: Challenger, day: LearnedDay, cut: int, sample: Sample, setup: Setup) -> Trained:
    """Write a day's weights as a model like any other, and measure it on the rows from ``cut`` on.

    Raises:
        UserMistake: it learned from other features, or its file is refused or gives something else
            than the learner did.
    """
    if record.feature_hash != FEATURE_HASH:
        raise UserMistake(
            f"the learner's features are {record.feature_hash}, this release's {FEATURE_HASH}; it "
            "begins anew with the first example of this release"
        )
    x, y = np.asarray(sample.features[cut:]), sample.target[cut:]
    at = datetime.fromtimestamp(day.until_ms / 1_000, UTC)
    version = named(
        f"online-{at:%Y%m%dT%H%MZ}-{setup.seed}", msgspec.json.encode((day.weights, day.bias))
    )
    inside = x[np.abs(x).max(axis=1) <= BOUND][-_GOLDEN:]
    model = model_record(
        day.weights,
        day.bias,
        version,
        rows=inside.tolist(),
        trained_rows=day.examples,
        updated_ms=setup.updated_ms,
    )
    try:
        served = verify(model)
    except RefusedControl as error:
        raise UserMistake(f"{error.detail}; it learns on, and is tried again tomorrow") from error
    data = base64.b64decode(model.onnx)
    parity = _parity(data, day.golden.inputs, np.array(day.golden.outputs))
    if not parity <= PARITY:
        raise UserMistake(
            f"model {version!r}: its file and the learner differ by {parity:.3g} on the learner's "
            f"own rows, more than {PARITY:g}; do both run the same release?"
        )
    scores = sigmoid(x @ np.array(served.weights) + served.bias)
    deviation = np.asarray(sample.features[max(0, cut - _ROWS) : cut + _ROWS]).std(axis=0)
    rate = float(sample.target[:cut].mean()) if cut else float(y.mean())
    card = Card(
        purpose="P(clicked | this message is shown), as learned in the stream row by row",
        not_for="choosing the channel, which is the bandit's; customers without marketing consent",
        window=data_window(sample.at_ms),
        rows=len(sample.target),
        trained_until_ms=day.until_ms,
        baseline="the mean for everybody",
        notes=(
            f"FTRL-proximal over {day.examples:,} examples, one at a time, each predicted before "
            "it was learned from; scale and Platt's sigmoid folded into the weights",
            "importance is the log-odds that one standard deviation moves",
        ),
        importance=sorted(
            zip(FEATURES, (np.array(day.weights) * deviation).tolist(), strict=True),
            key=lambda pair: -abs(pair[1]),
        ),
        parity=max(parity, _parity(data, x[:_ROWS].tolist(), scores[:_ROWS])),
        **evidence(sample, cut, y, scores, rate, setup),
    )
    return Trained(msgspec.structs.replace(model, auc=card.metrics.auc.value), card)


def _parity(data: bytes, rows: list[list[float]], said: Matrix) -> float:
    """The largest difference between what the file gives for rows and what was said of them."""
    if not len(rows):
        return 0.0
    return float(np.abs(np.array(run(data, rows)) - said).max())
