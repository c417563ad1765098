import numpy as np
import pytest

from jobs.trainers import ctr_study
from jobs.trainers.ctr_study import down_sampled, platt, sigmoid, smote, study
from schemas.errors import UserMistake
from scoring.features import FEATURES
from scoring.model import verify

WIDTH = len(FEATURES)


@pytest.fixture(scope="module")
def market():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40_000, WIDTH))
    x[:, 5] = 1.0
    truth = sigmoid(1.2 * x[:, 0] - 0.8 * x[:, 1] - 3.2)
    return x, (rng.random(len(x)) < truth).astype(float), truth


@pytest.fixture(scope="module")
def found(market):
    x, y, _ = market
    groups = {"side": np.where(x[:, 2] > 0, "left", "right")}
    return study(x, y, groups, version="v1", updated_ms=1, seed=1)


def test_it_comes_close_to_the_truth_and_is_calibrated(market, found):
    _, y, truth = market
    best = ctr_study.metrics.auc(y[found.test_from :], truth[found.test_from :])
    assert abs(found.metrics.auc.value - best) < 0.01
    assert found.metrics.ece < 0.012
    assert found.metrics.log_loss.high < found.metrics.base_log_loss


def test_the_published_model_is_what_was_measured_and_passes_the_streams_proof(market, found):
    x, _, _ = market
    model = verify(found.model)
    ours = [model.score(row) for row in x[found.test_from : found.test_from + 50].tolist()]
    assert np.allclose(ours, found.scores[:50], atol=1e-12)
    assert model.weights[5] == 0.0


def test_smote_ranks_as_well_and_is_far_off_in_rate(found):
    by_name = {way.name: way for way in found.ways}
    assert by_name["SMOTE"].auc == pytest.approx(found.ways[0].auc, abs=0.02)
    assert by_name["SMOTE"].ece > 5 * found.ways[0].ece


def test_groups_and_importance_name_what_there_is(found):
    assert {group.group for group in found.groups} == {"side: left", "side: right"}
    assert [name for name, _ in found.importance[:2]] == list(FEATURES[:2])


def test_the_prior_correction_undoes_down_sampling(market):
    x, y, _ = market
    model = down_sampled(x, y, 1.0, np.random.default_rng(1))
    assert sigmoid(model.logits(x)).mean() == pytest.approx(y.mean(), rel=0.05)


def test_platt_finds_the_slope_and_shift_that_were_put_in():
    rng = np.random.default_rng(4)
    logits = rng.normal(size=100_000) * 2
    labels = (rng.random(len(logits)) < sigmoid(0.5 * logits - 1)).astype(float)
    assert platt(logits, labels) == pytest.approx((0.5, -1.0), abs=0.05)
    assert platt(np.zeros(10), np.ones(10)) == (1.0, 0.0)


def test_smote_stays_between_its_neighbours():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(50, 3))
    made = smote(x, rng, 200)
    assert made.shape == (200, 3)
    assert (made >= x.min(axis=0)).all()
    assert (made <= x.max(axis=0)).all()


def test_the_newest_rows_never_train(market, found):
    x, y, _ = market
    x, y = x.copy(), y.copy()
    y[found.test_from :] = 1 - y[found.test_from :]
    again = study(x, y, {}, version="v1", updated_ms=1, seed=1)
    assert again.model.onnx == found.model.onnx


def test_too_few_clicks_are_refused():
    with pytest.raises(UserMistake, match="clicks in"):
        study(np.zeros((1_000, WIDTH)), np.zeros(1_000), {}, version="v", updated_ms=1, seed=1)
