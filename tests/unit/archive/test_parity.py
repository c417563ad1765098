from __future__ import annotations

import random
from typing import Any

import pytest

from jobs.archive.parity import CHECKED, MISMATCHED, UNKNOWN, WITHOUT, Parity
from jobs.archive.tables import EXAMPLES, Row
from schemas.model import Model
from schemas.wire import encode
from scoring.features import FEATURES
from scoring.model import PRIOR_VERSION, verify
from scoring.onnx_export import model_record
from tests.unit.archive.rows import example

WIDTH = len(FEATURES)


def model(version: str, seed: int = 3) -> Model:
    draw = random.Random(seed)
    return model_record([draw.uniform(-1, 1) for _ in range(WIDTH)], -1.5, version)


def row(record: Model, number: int, **fields: Any) -> Row:
    draw = random.Random(number)
    features = [draw.uniform(-3, 3) for _ in range(WIDTH)]
    values = {
        "features": features,
        "score": verify(record).score(features),
        "model_version": record.version,
        **fields,
    }
    return EXAMPLES.row(encode(example(f"d{number}", number, **values)), "")


@pytest.fixture
def two() -> tuple[Model, Model]:
    return model("ctr-1", 1), model("ctr-2", 2)


def test_a_score_is_checked_by_the_model_that_its_example_names(two: tuple[Model, Model]) -> None:
    parity = Parity()
    for each in two:
        parity.learn(encode(each))
    found = parity.check(row(two[number % 2], number) for number in range(500))
    assert found == {CHECKED: 500}


def test_a_score_that_is_off_by_a_little_is_counted(two: tuple[Model, Model]) -> None:
    parity = Parity()
    parity.learn(encode(two[0]))
    good = row(two[0], 1)
    off = {**good, "score": good["score"] + 2e-6}
    crossed = {**row(two[1], 2), "model_version": "ctr-1"}
    nothing = {**good, "score": float("nan")}
    near = {**good, "score": good["score"] + 1e-9}
    found = parity.check([good, off, crossed, nothing, near])
    assert found == {CHECKED: 5, MISMATCHED: 3}


def test_what_cannot_be_checked_is_counted_apart(two: tuple[Model, Model]) -> None:
    parity = Parity()
    parity.learn(encode(two[0]))
    parity.learn(b"no record")
    parity.learn(None)
    rows = [row(two[0], 1), row(two[1], 2), row(two[0], 3, model_version=PRIOR_VERSION)]
    assert parity.check(rows) == {CHECKED: 1, UNKNOWN: 1, WITHOUT: 1}


def test_a_sample_is_the_same_whoever_takes_it(two: tuple[Model, Model]) -> None:
    rows = [row(two[0], number) for number in range(400)]
    counts = []
    for _ in range(2):
        parity = Parity(share=8)
        parity.learn(encode(two[0]))
        counts.append(parity.check(rows)[CHECKED])
    assert counts[0] == counts[1]
    assert 20 < counts[0] < 90
