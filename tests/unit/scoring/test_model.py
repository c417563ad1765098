from __future__ import annotations

import math
import random
import subprocess
import sys

import pytest

from scoring.features import FEATURE_HASH, FEATURES
from scoring.model import PRIOR_VERSION, LogisticModel, prior_model, verify
from scoring.onnx_export import lift, model_record, run, to_onnx

WIDTH = len(FEATURES)


def vector(seed: int) -> list[float]:
    draw = random.Random(seed)
    return [draw.uniform(-3, 3) for _ in range(WIDTH)]


def test_the_score_is_the_logistic_of_the_weighted_sum() -> None:
    weights, row = vector(1), vector(2)
    logit = math.fsum(w * x for w, x in zip(weights, row, strict=True)) - 1.5
    model = LogisticModel("v", FEATURE_HASH, weights, -1.5)
    assert model.score(row) == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-12)


@pytest.mark.parametrize(("bias", "score"), [(1e6, 1.0), (-1e6, 0.0), (0.0, 0.5)])
def test_a_sure_score_neither_overflows_nor_leaves_the_unit_interval(
    bias: float, score: float
) -> None:
    assert LogisticModel("v", FEATURE_HASH, [0.0] * WIDTH, bias).score(vector(3)) == score


def test_without_a_model_everybody_scores_the_prior_rate() -> None:
    model = prior_model(0.05)
    assert model.version == PRIOR_VERSION
    assert model.feature_hash == FEATURE_HASH
    assert model.score(vector(1)) == model.score(vector(2)) == pytest.approx(0.05)


def test_a_model_survives_export_and_verification_to_the_last_bit() -> None:
    weights = vector(4)
    model = verify(model_record(weights, -2.0, "ctr-1"))
    assert (model.version, model.weights, model.bias) == ("ctr-1", tuple(weights), -2.0)


def test_the_runtime_and_the_lifted_weights_agree_on_rows_they_have_not_seen() -> None:
    data = to_onnx(vector(5), -1.0, "ctr-1")
    model = LogisticModel("ctr-1", FEATURE_HASH, *lift(data, "ctr-1"))
    rows = [vector(seed) for seed in range(100, 200)]
    assert run(data, rows) == pytest.approx([model.score(row) for row in rows], abs=1e-12)


def test_the_same_weights_give_the_same_file() -> None:
    assert to_onnx(vector(6), 0.5, "ctr-1") == to_onnx(vector(6), 0.5, "ctr-1")
    assert to_onnx(vector(6), 0.5, "ctr-1") != to_onnx(vector(6), 0.5, "ctr-2")


def test_weights_of_another_width_are_not_exported() -> None:
    with pytest.raises(ValueError, match=f"there are {WIDTH} features"):
        to_onnx([1.0], 0.0, "ctr-1")


def test_scoring_does_not_import_the_model_runtimes() -> None:
    code = (
        "import sys, scoring.model, scoring.features, scoring.policies;"
        "print(sorted({'onnx', 'onnxruntime', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
