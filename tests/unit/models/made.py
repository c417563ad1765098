"""An artefact to test with."""

import numpy as np

from jobs.models.artefact import Artefact
from jobs.trainers.card import Card
from jobs.trainers.metrics import Measured, Metrics
from scoring.features import FEATURES
from scoring.onnx_export import model_record

FIGURE = Measured(0.8, 0.7, 0.9)


def artefact(version="v1", bias=None, seed=1, spread=1.0):
    """One of random weights; with a ``bias`` one that gives everybody the same score."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform(-1, 1, (8, len(FEATURES))).tolist()
    drawn = rng.normal(0, spread, len(FEATURES)).tolist()
    weights = drawn if bias is None else [0.0] * len(FEATURES)
    model = model_record(weights, -2.0 if bias is None else bias, version, rows=rows)
    metrics = Metrics(100, 10, FIGURE, FIGURE, 0.01, 0.9)
    return Artefact.of(model, Card("to rank", "to choose", ("a", "b"), 100, 5, metrics, "the mean"))
