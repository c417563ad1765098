"""What every trainer of `TRAINERS` promises; a new one is found here unasked."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from jobs.models.artefact import Artefact, prove
from jobs.models.registry import Registry
from jobs.trainers import TRAINERS
from jobs.trainers.base import Sample, Setup, Trained
from jobs.trainers.learned import Learned, predict
from schemas.errors import UserMistake
from schemas.model import Model
from scoring.features import BOUND
from scoring.model import verify

pytestmark = pytest.mark.filterwarnings("ignore")

DAY_MS = 86_400_000
MOMENTS = 10
ROWS = 6_000
SETUP = Setup("t", 7, seed=3, quick=True)
EACH = pytest.mark.parametrize("name", sorted(TRAINERS))


def planted(name: str, seed: int = 1, rows: int = ROWS) -> Sample:
    """Rows whose target follows the first two inputs, in ten moments of time."""
    rng = np.random.default_rng(seed)
    trainer = TRAINERS[name]
    names = trainer.names or ("one", "other", "third")
    x = rng.normal(0.5, 0.6, (rows, len(names))).clip(-BOUND, BOUND)
    moment = np.sort(rng.integers(0, MOMENTS, rows)) * DAY_MS
    groups = {"side": np.where(rng.random(rows) < 0.5, "left", "right")}
    inner = 1.4 * x[:, 0] - 1.0 * x[:, 1]
    match trainer.target:
        case "chance":
            chance = 1 / (1 + np.exp(1.0 - 1.5 * inner))
            return Sample(names, x, (rng.random(rows) < chance).astype(float), moment, groups)
        case "duration":
            days = np.exp(1.0 - 0.6 * inner) * rng.weibull(1.2, rows)
            ends = MOMENTS - moment / DAY_MS
            seen = (days <= ends).astype(float)
            return Sample(names, x, np.minimum(days, ends), moment, groups, seen=seen)
        case "count":
            rate = np.exp(1.0 + inner)
            counts = rng.poisson(rate).astype(float)
            return Sample(names, x, counts, moment, groups, base=np.full(rows, rate.mean()))


@pytest.fixture(scope="module")
def trained() -> dict[str, Trained]:
    return {name: TRAINERS[name].fit(planted(name), SETUP) for name in TRAINERS}


@EACH
def test_it_beats_its_baseline_on_rows_that_came_later(name: str, trained: dict[str, Trained]):
    card = trained[name].card
    assert card.beats_baseline
    assert card.metrics.log_loss.high < card.metrics.base_log_loss
    assert card.baseline
    assert 0 < card.metrics.rows < card.rows / 2
    first = planted(name).at_ms
    assert card.trained_until_ms < first[-1]
    assert (first > card.trained_until_ms).sum() >= card.metrics.rows


@EACH
def test_what_is_newest_never_trains(name: str, trained: dict[str, Trained]):
    sample = planted(name)
    newest = sample.at_ms > trained[name].card.trained_until_ms
    target = sample.target.copy()
    target[newest] = 1 - target[newest] if TRAINERS[name].target == "chance" else target[newest] / 2
    changed = TRAINERS[name].fit(sample._replace(target=target), SETUP)
    assert changed.model.onnx == trained[name].model.onnx
    assert changed.card.metrics != trained[name].card.metrics


@EACH
def test_it_is_cross_validated_over_time(name: str, trained: dict[str, Trained]):
    folds = trained[name].card.folds
    sizes = [fold.trained for fold in folds]
    assert sizes == sorted(set(sizes))
    assert all(fold.judged > 0 for fold in folds)
    assert all(fold.loss < fold.base_loss for fold in folds[1:])


@EACH
def test_its_card_has_intervals_calibration_and_groups(name: str, trained: dict[str, Trained]):
    card = trained[name].card
    for measured in (card.metrics.auc, card.metrics.log_loss):
        assert measured.low <= measured.value <= measured.high
        assert measured.low < measured.high
    assert card.metrics.ece < 0.1
    top, bottom = card.calibration[-1], card.calibration[0]
    assert top.observed > bottom.observed
    assert {group.group for group in card.groups} == {"side: left", "side: right"}
    assert card.purpose
    assert card.not_for
    assert card.notes
    assert card.window[0] < card.window[1]
    assert {each for each, _ in card.importance[:2]} == set(planted(name).names[:2])


@EACH
def test_its_file_gives_what_was_measured(name: str, trained: dict[str, Trained]):
    found = trained[name]
    assert found.card.parity < 1e-4
    if isinstance(found.model, Model):
        model = verify(found.model)
        given = [model.score(row) for row in found.model.golden.inputs]
        assert given == pytest.approx(found.model.golden.outputs, abs=1e-9)
    else:
        rows = np.array(found.model.golden.inputs)
        assert len(rows) >= 10
        assert predict(found.model, rows) == pytest.approx(found.model.golden.outputs, abs=1e-6)


@EACH
def test_the_same_rows_give_the_same_model(name: str, trained: dict[str, Trained]):
    again = TRAINERS[name].fit(planted(name), SETUP)
    assert msgspec.json.encode(again.model) == msgspec.json.encode(trained[name].model)
    assert again.card == trained[name].card


@EACH
def test_it_is_sealed_and_kept_and_a_touched_one_is_refused(
    name: str, trained: dict[str, Trained], tmp_path
):
    artefact = Artefact.of(trained[name].model, trained[name].card)
    registry = Registry(tmp_path)
    registry.add(artefact)
    registry.add(artefact)
    assert registry.artefact(artefact.version) == artefact
    raw = msgspec.json.encode(artefact)
    rng = np.random.default_rng(5)
    for place in rng.integers(0, len(raw), 60).tolist():
        spoilt = bytearray(raw)
        spoilt[place] ^= 1 << int(rng.integers(0, 8))
        with pytest.raises(UserMistake):
            prove(bytes(spoilt), "a mutant")


@EACH
def test_another_file_under_a_true_hash_is_refused_by_its_golden_rows(
    name: str, trained: dict[str, Trained]
):
    other = TRAINERS[name].fit(planted(name, seed=9), SETUP)
    model = trained[name].model
    swapped = msgspec.structs.replace(model, onnx=other.model.onnx, sha256=other.model.sha256)
    with pytest.raises(UserMistake):
        prove(msgspec.json.encode(Artefact.of(swapped, trained[name].card)), "it")
    if isinstance(model, Learned):
        renamed = msgspec.structs.replace(model, inputs=tuple(reversed(model.inputs)))
        with pytest.raises(UserMistake, match="not those it was made for"):
            prove(msgspec.json.encode(Artefact.of(renamed, trained[name].card)), "it")


@EACH
def test_noise_beats_nothing(name: str):
    sample = planted(name)
    order = np.random.default_rng(4).permutation(len(sample.target))
    seen = None if sample.seen is None else sample.seen[order]
    shuffled = sample._replace(target=sample.target[order], seen=seen)
    card = TRAINERS[name].fit(shuffled, SETUP).card
    assert card.metrics.log_loss.value > 0.99 * card.metrics.base_log_loss
    assert abs(card.metrics.auc.value - 0.5) < 0.06


def gap(sample: Sample) -> Sample:
    x = sample.features.copy()
    x[5, 1] = np.nan
    return sample._replace(features=x)


def no_label(sample: Sample) -> Sample:
    y = sample.target.copy()
    y[3] = np.nan
    return sample._replace(target=y)


def backwards(sample: Sample) -> Sample:
    return sample._replace(at_ms=sample.at_ms[::-1].copy())


def one_moment(sample: Sample) -> Sample:
    return sample._replace(at_ms=np.zeros(len(sample.target), np.int64))


def too_short(sample: Sample) -> Sample:
    return sample._replace(at_ms=sample.at_ms[:-1])


@EACH
@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (gap, "has gaps"),
        (no_label, "no number"),
        (backwards, "backwards"),
        (too_short, "not all as long"),
    ],
)
def test_what_must_not_be_trained_on_is_refused_with_its_reason(name: str, harm, reason: str):
    with pytest.raises(UserMistake, match=reason):
        TRAINERS[name].fit(harm(planted(name, rows=400)), SETUP)


@EACH
def test_one_class_only_is_refused(name: str):
    sample = planted(name, rows=1_000)
    match TRAINERS[name].target:
        case "chance":
            sample = sample._replace(target=np.zeros(1_000))
        case "duration":
            assert sample.seen is not None
            sample = sample._replace(seen=np.zeros(1_000))
        case "count":
            sample = one_moment(sample)
    with pytest.raises(UserMistake):
        TRAINERS[name].fit(sample, SETUP)
