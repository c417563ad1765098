"""The baselines choose the best score, and say exactly how often they do not."""

from __future__ import annotations

import pytest
from scipy import stats

from scoring.policies.base import Arms
from scoring.policies.greedy import BayesUcb, EpsilonGreedy

ARMS: Arms = ((30.0, 470.0), (4.0, 66.0), (20.0, 480.0))


def test_epsilon_greedy_gives_the_highest_mean_all_but_what_explores() -> None:
    assert EpsilonGreedy(0.3).probabilities(ARMS) == pytest.approx((0.8, 0.1, 0.1))


def test_bayes_ucb_gives_it_to_the_arm_that_may_be_the_best_yet() -> None:
    total = sum(map(sum, ARMS))
    bounds = [stats.beta(*arm).ppf(1 - 1 / total) for arm in ARMS]
    assert max(bounds) == bounds[1], "the arm least known, though not the one of the highest mean"
    assert BayesUcb(0.3).probabilities(ARMS) == pytest.approx((0.1, 0.8, 0.1))


@pytest.mark.parametrize("policy", [EpsilonGreedy(0.1), BayesUcb(0.1)])
def test_a_tie_is_divided(policy: EpsilonGreedy) -> None:
    arms: Arms = ((10.0, 90.0), (10.0, 90.0), (1.0, 99.0), (10.0, 90.0))
    assert policy.probabilities(arms) == pytest.approx((0.325, 0.325, 0.025, 0.325))
