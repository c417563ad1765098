import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from jobs.trainers import metrics


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3)), min_size=2, max_size=60
    )
)
def test_the_weighted_auc_is_sklearns(rows):
    labels, scores, weights = (np.array(column, float) for column in zip(*rows, strict=True))
    if not (weights @ labels and weights @ (1 - labels)):
        return
    found = metrics.auc(labels, scores, weights)
    assert found == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))


def test_log_loss_is_sklearns_and_a_sure_mistake_is_finite():
    labels, scores = np.array([1.0, 0.0, 1.0]), np.array([0.8, 0.3, 0.5])
    assert metrics.losses(labels, scores).mean() == pytest.approx(log_loss(labels, scores))
    assert np.isfinite(metrics.losses(labels, 1 - labels)).all()


def test_calibration_error_is_nothing_for_the_truth_and_the_shift_for_a_shift():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.1, 0.5, 200_000)
    labels = (rng.random(len(truth)) < truth).astype(float)
    assert metrics.ece(labels, truth) < 0.005
    assert metrics.ece(labels, truth + 0.2) == pytest.approx(0.2, abs=0.005)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(60):
        truth = rng.uniform(0, 1, 400)
        labels = (rng.random(400) < truth).astype(float)
        found = metrics.measure(labels, truth, 0.5, rng, draws=100).auc
        covered += found.low <= 5 / 6 <= found.high  # of p uniform, P(p1 > p0) is 5/6
    assert covered >= 50


def test_small_groups_are_left_out_and_a_group_of_one_kind_has_no_auc():
    labels = np.array([0.0] * 150 + [1.0] * 20)
    found = metrics.by_group(labels, np.full(170, 0.1), np.array(["a"] * 150 + ["b"] * 20))
    assert [(g.group, g.rows, g.auc) for g in found] == [("a", 150, None)]
