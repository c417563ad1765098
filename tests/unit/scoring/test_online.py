"""The model that learns in the stream: how well, the same each time, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.online import CorruptLearner, OnlineLogistic, Rates
from tests.shared_data import rows_of

Examples = list[tuple[list[float], int]]

_features = st.lists(
    st.one_of(st.floats(-1e12, 1e12), st.sampled_from([0.0, 1.0, -0.0, 1e-300])),
    min_size=3,
    max_size=3,
)
_examples = st.lists(st.tuples(_features, st.integers(0, 1)), max_size=30)


def learner_of(examples: Examples, width: int = 3, **rates: float) -> OnlineLogistic:
    learner = OnlineLogistic(width, Rates(**rates))
    for features, label in examples:
        learner.learn(features, label)
    return learner


def drawn(count: int, seed: int = 1, scale: float = 1.0) -> Examples:
    """Three features, of which the last says nothing; the odds of a 1 are about 1 to 3."""
    random = np.random.default_rng(seed)
    found: Examples = []
    for row in random.normal(size=(count, 3)):
        chance = 1 / (1 + math.exp(1.2 - 1.5 * row[0] + row[1]))
        found.append(((scale * row).tolist(), int(random.random() < chance)))
    return found


def test_one_pass_over_phishing_is_as_accurate_as_is_published() -> None:
    """1 250 sites, nine features; the published figure of a logistic regression is 89.28 %."""
    rows = rows_of("phishing.csv.gz")
    learner = OnlineLogistic(9)
    for row in rows:
        label = int(row.pop("is_phishing"))
        learner.learn([float(value) for value in row.values()], label)
    progress = learner.progress
    assert progress.examples == 1_250
    assert progress.accuracy >= 0.8928
    assert progress.log_loss < 0.26
    assert progress.log_loss < progress.raw_log_loss < 0.4 * progress.base_log_loss


@given(_examples, st.lists(_features, min_size=1, max_size=5))
def test_weights_over_raw_features_say_what_it_predicts(
    examples: Examples, rows: list[list[float]]
) -> None:
    learner = learner_of(examples)
    weights, bias = learner.linear()
    for row in rows:
        terms = [weight * value for weight, value in zip(weights, row, strict=True)]
        logit = math.fsum([*terms, bias])
        if abs(logit) < 20 and max(map(abs, [*terms, bias])) < 1e4:  # not cut off, nor cancelled
            said = learner.predict(row)
            assert said == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-9)


def test_predictions_are_calibrated() -> None:
    learner = learner_of(drawn(6_000))
    fresh = drawn(6_000, seed=2)
    predicted = np.array([learner.predict(features) for features, _ in fresh])
    labels = np.array([label for _, label in fresh])
    for low, high in ((0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)):
        inside = (predicted >= low) & (predicted < high)
        assert inside.sum() > 300
        assert labels[inside].mean() == pytest.approx(predicted[inside].mean(), abs=0.05)


def test_platt_mends_a_model_that_learns_too_slowly() -> None:
    progress = learner_of(drawn(3_000), alpha=0.002).progress
    assert progress.log_loss < progress.base_log_loss < progress.raw_log_loss


def test_the_loss_told_is_that_of_predictions_made_before_learning() -> None:
    learner = OnlineLogistic(3)
    losses, right = [], 0
    for features, label in drawn(300):
        chance = learner.learn(features, label)
        losses.append(-math.log(chance if label else 1 - chance))
        right += (chance > 0.5) == bool(label)
    assert learner.progress.log_loss == pytest.approx(np.mean(losses))
    assert learner.progress.accuracy == right / 300


def test_the_first_prediction_knows_nothing() -> None:
    learner = OnlineLogistic(3)
    assert learner.predict([1.0, 2.0, 3.0]) == 0.5
    assert learner.learn([1.0, 2.0, 3.0], 1) == 0.5
    assert OnlineLogistic(3).progress == (0, 0, 0.0, 0.0, 0.0, 0.0)


def test_the_unit_of_a_feature_does_not_matter() -> None:
    one, other = learner_of(drawn(500)), learner_of(drawn(500, scale=1_000.0))
    assert one.progress == pytest.approx(other.progress)


def test_a_feature_that_says_nothing_is_kept_at_zero_by_l1() -> None:
    def effect(learner: OnlineLogistic) -> float:
        return abs(learner.predict([0.0, 0.0, 1.0]) - learner.predict([0.0, 0.0, -1.0]))

    assert effect(learner_of(drawn(500))) > 0
    assert effect(learner_of(drawn(500), l1=30.0)) == 0


@given(_examples, _examples)
def test_bytes_there_and_back_change_nothing(before: Any, after: Any) -> None:
    learner = learner_of(before)
    again = OnlineLogistic.decode(learner.encode())
    assert again.encode() == learner.encode()
    for features, label in after:
        assert again.learn(features, label) == learner.learn(features, label)
    assert again.encode() == learner.encode()
    assert again.progress == learner.progress


@given(_examples)
def test_the_same_examples_give_the_same_bytes(examples: Any) -> None:
    assert learner_of(examples).encode() == learner_of(examples).encode()


@given(_examples, _features)
def test_a_prediction_is_a_probability_and_teaches_nothing(examples: Any, asked: Any) -> None:
    learner = learner_of(examples)
    before = learner.encode()
    assert 0.0 < learner.predict(asked) < 1.0
    assert learner.encode() == before


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e13])
def test_features_that_are_no_numbers_of_use_are_refused_and_teach_nothing(bad: float) -> None:
    learner = learner_of(drawn(20))
    before = learner.encode()
    with pytest.raises(ValueError, match="feature 1 is"):
        learner.learn([0.0, bad, 0.0], 1)
    with pytest.raises(ValueError, match="feature 1 is"):
        learner.predict([0.0, bad, 0.0])
    with pytest.raises(ValueError, match="2 features; this model has 3"):
        learner.predict([0.0, 0.0])
    with pytest.raises(ValueError, match="label is 2"):
        learner.learn([0.0, 0.0, 0.0], 2)
    assert learner.encode() == before


@pytest.mark.parametrize("rates", [Rates(alpha=0.0), Rates(l2=-1.0), Rates(beta=math.nan)])
def test_rates_that_cannot_be_are_refused(rates: Rates) -> None:
    with pytest.raises(ValueError, match="rates"):
        OnlineLogistic(3, rates)


def test_bytes_that_are_not_ours_are_refused() -> None:
    data = learner_of(drawn(20)).encode()
    nan = data[:-8] + b"\xff" * 8
    for broken in (b"", data[:-1], data + b"\x00", b"BKC" + data[3:], b"BKO\x02" + data[4:], nan):
        with pytest.raises(CorruptLearner):
            OnlineLogistic.decode(broken)
