"""Models that the night scores with: listed and shown like any other, never put into the stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from typer.testing import CliRunner

from jobs.models.artefact import Artefact
from jobs.models.commands import app
from jobs.models.registry import Registry
from jobs.trainers.card import Card
from jobs.trainers.graphs import linear
from jobs.trainers.learned import learned, predict
from jobs.trainers.metrics import Measured, Metrics
from schemas.errors import UserMistake
from tests.unit.models.made import artefact

RUNNER = CliRunner()


@dataclass
class Case:
    version: str
    loss: float
    said: str


CASES = (Case("gender-good", 0.5, "used by night"), Case("gender-bad", 0.8, "not used"))


def of_the_night(case: Case) -> Artefact:
    data = linear([1.0, -2.0], 0.5, "sigmoid")
    rows = np.random.default_rng(1).normal(size=(40, 2))
    figure = Measured(case.loss, case.loss - 0.1, case.loss + 0.1)
    card = Card(
        "p", "n", ("a", "b"), 100, 5, Metrics(50, 20, figure, figure, 0.01, 0.6), "the mean"
    )
    return Artefact.of(learned("gender", case.version, data, ("one", "other"), rows, 3), card)


@pytest.fixture
def registry(tmp_path, monkeypatch) -> Registry:
    monkeypatch.setenv("BECKON_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    found = Registry(tmp_path)
    found.add(artefact("ctr-1"))
    for case in CASES:
        found.add(of_the_night(case))
    return found


def test_all_kinds_are_listed_with_whether_the_night_uses_them(registry):
    shown = RUNNER.invoke(app, ["list"]).stdout
    for case in CASES:
        [line] = [each for each in shown.splitlines() if case.version in each]
        assert case.said in line
    assert "ctr-1" in shown


def test_one_of_them_is_shown_and_proved(registry):
    shown = RUNNER.invoke(app, ["show", "gender-good"])
    assert shown.exit_code == 0, shown.exception
    assert registry.artefact("gender-good").made.sha256[:40] in shown.stdout
    assert "gender-good: whole" in RUNNER.invoke(app, ["verify", "gender-good"]).stdout


def test_a_damaged_one_hides_no_other_and_is_named(registry):
    path = registry.root / "gender-good" / "artefact.json"
    path.write_bytes(path.read_bytes()[:-20])
    for command, whole in ((["list"], "ctr-1"), (["verify"], "ctr-1: whole")):
        found = RUNNER.invoke(app, command)
        assert whole in found.stdout
        [line] = [each for each in found.stdout.splitlines() if "gender-good" in each]
        assert "damaged" in line
        assert isinstance(found.exception, UserMistake)
        assert str(path) in str(found.exception)


@pytest.mark.usefixtures("registry")
def test_none_of_them_goes_into_the_stream():
    found = RUNNER.invoke(app, ["promote", "gender-good", "--to", "shadow", "--force"])
    assert isinstance(found.exception, UserMistake)
    assert "only click models go into the stream" in str(found.exception)


@pytest.mark.parametrize(
    ("link", "naive"),
    [
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("exp", np.exp),
        ("cloglog", lambda x: 1 - np.exp(-np.exp(x))),
    ],
)
def test_a_graph_gives_what_its_link_says(link, naive):
    rows = np.random.default_rng(2).normal(size=(30, 2))
    record = learned("x", "x-1", linear([0.7, -0.3], -0.2, link), ("a", "b"), rows, 1)
    assert predict(record, rows) == pytest.approx(naive(rows @ [0.7, -0.3] - 0.2), abs=1e-12)
