"""What the stream has learned by itself, through the night's gate and no other way."""

from __future__ import annotations

import shutil
from datetime import date

import msgspec
import numpy as np
import pytest
from rich.console import Console

from benchmarks.night_online import archive_learner, learned_in_stream
from jobs.market.archive import write_archive
from jobs.models.artefact import Artefact, load, save
from jobs.models.judge import Verdict
from jobs.models.registry import Registry
from jobs.nightly import STEPS, examples
from jobs.nightly.base import StepStopped
from jobs.nightly.context import Context
from jobs.nightly.online import candidate, newest_published
from jobs.nightly.runner import run_step
from jobs.settings import Settings
from schemas.control import control_key
from schemas.errors import UserMistake
from schemas.wire import encode
from scoring.model import verify
from scoring.world import World

DAY = date(2026, 11, 26)
DAY_MS = 86_400_000
pytestmark = pytest.mark.filterwarnings("ignore")


class Night:
    """A night's folders, and the steps before the gate."""

    def __init__(self, root):
        self.root = root
        self.archive = root / "archive"

    def context(self, step):
        return Context(
            step, archive_dir=self.archive, data_dir=self.root, day=DAY, quick=True,
            console=Console(quiet=True), settings=Settings(data_dir=self.root),
        )  # fmt: skip

    def run(self, step):
        context = self.context(step)
        manifest, _ = run_step(STEPS[step], context, force=True)
        assert manifest.status == "done", manifest.reason
        return context


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    found = Night(tmp_path_factory.mktemp("online"))
    write_archive(found.archive, customers=900, examples=16_000, days=5, last=DAY, seed=3)
    for step in ("quality", "examples", "ctr"):
        found.run(step)
    return found


@pytest.fixture(scope="module")
def record(night):
    return learned_in_stream(night.archive)


@pytest.fixture
def offered(night, record):
    """The context of the step, after it has made its candidate."""
    context = night.context("online")
    candidate(context, record)
    yield context
    (context.folder / "artefact.json").unlink()


def test_each_day_ends_with_what_was_learned_until_then(record):
    ends = [day.until_ms // DAY_MS for day in record.days]
    assert len(record.days) == 3
    assert ends == [record.days[0].until_ms // DAY_MS + back for back in range(3)]
    counts = [day.examples for day in record.days]
    assert counts == sorted(set(counts))


def test_the_file_gives_what_the_learner_itself_said(night, record, offered):
    found = load(offered.folder / "artefact.json")
    served = verify(found.model)
    day = next(each for each in record.days if each.until_ms == found.card.trained_until_ms)
    assert day.golden.inputs
    for row, said in zip(day.golden.inputs, day.golden.outputs, strict=True):
        assert abs(served.score(row) - said) < 1e-12
    assert found.card.parity < 1e-12


def test_it_is_measured_on_what_came_after_it(night, offered):
    found = load(offered.folder / "artefact.json")
    rows = examples.read(night.context("look"))
    later = int((rows.at_ms > found.card.trained_until_ms).sum())
    assert found.card.metrics.rows == later >= 500
    assert found.card.metrics.auc.value > 0.8


def test_the_gate_hears_of_it_and_the_night_s_own_must_be_beaten_first(night, offered):
    verdicts = judged(night)
    online = load(offered.folder / "artefact.json").version
    own = load(night.context("ctr").folder / "artefact.json").version
    assert set(verdicts) == {own, online}
    assert verdicts[own].champion == "mean"
    assert verdicts[online].champion == (own if verdicts[own].won else "mean")
    told = msgspec.json.decode(
        (night.context("judge").folder / "verdict.json").read_bytes(), type=Verdict
    )
    winners = [each for each in verdicts.values() if each.won]
    assert told == (verdicts[online] if verdicts[online].won else verdicts[own])
    assert winners


def judged(night):
    night.run("judge")
    registry = Registry(night.root)
    return {
        version: verdict
        for version in registry.versions()
        if (verdict := registry.verdict(version)) is not None
    }


def test_one_that_learned_the_wrong_way_round_is_kept_and_never_let_in(night, offered):
    path = offered.folder / "artefact.json"
    whole = path.read_bytes()
    found = load(path)
    turned = spoilt(found)
    save(path, turned)
    verdict = judged(night)[turned.version]
    path.write_bytes(whole)
    assert not verdict.won
    registry = Registry(night.root)
    with pytest.raises(UserMistake, match="did not win"):
        registry.promote(turned.version, "shadow", 0.0, 1, "hand", lambda *_: None)


def spoilt(found):
    from scoring.onnx_export import model_record

    model = verify(found.model)
    wrong = model_record(
        [-weight for weight in model.weights], model.bias, "online-wrong",
        rows=found.model.golden.inputs[:8],
    )  # fmt: skip
    return Artefact.of(wrong, found.card)


def test_weights_that_do_not_give_what_was_said_are_refused(night, record):
    day = record.days[-1]
    off = msgspec.structs.replace(day, bias=day.bias + 0.001)
    days = tuple(msgspec.structs.replace(off, until_ms=each.until_ms) for each in record.days)
    with pytest.raises(StepStopped, match="differ by"):
        candidate(night.context("online"), msgspec.structs.replace(record, days=days))


def test_what_was_learned_from_other_features_is_no_candidate(night, record):
    with pytest.raises(StepStopped, match="begins anew"):
        candidate(night.context("online"), msgspec.structs.replace(record, feature_hash="x"))


def test_what_diverged_is_refused_and_the_night_goes_on(night, record):
    days = tuple(
        msgspec.structs.replace(day, weights=(float("1e9"), *day.weights[1:]))
        for day in record.days
    )
    with pytest.raises(StepStopped, match="diverged"):
        candidate(night.context("online"), msgspec.structs.replace(record, days=days))


def test_without_a_record_there_is_no_candidate_and_nothing_stops(night):
    report = candidate(night.context("online"), None)
    assert report.facts[0].value == "none"
    night.run("judge")


def test_the_step_finds_the_newest_record_among_the_archived_control_records(night, record):
    archive_learner(night.archive, DAY)
    context = night.context("online")
    try:
        assert newest_published(context) == record
        manifest, _ = run_step(STEPS["online"], context, force=True)
        assert manifest.status == "done", manifest.reason
        assert any(source.name == "table:control" for source in manifest.reads)
        (file,) = (night.archive / "control").glob("day=*/*.parquet")
        file.write_bytes(file.read_bytes()[:-40])
        manifest, _ = run_step(STEPS["online"], night.context("online"), force=True)
        assert manifest.status == "stopped"
        assert str(file) in manifest.reason
    finally:
        shutil.rmtree(night.archive / "control")


def test_the_record_steers_nothing_in_the_stream(record):
    key, value = control_key(record), encode(record)
    world = World()
    before = world.models.champion
    world.accept(key, value)
    assert world.models.champion is before
    assert np.isfinite(record.days[-1].bias)
