"""What every policy of `POLICIES` promises, whoever wrote it."""

from __future__ import annotations

import math

import pytest
from scipy.stats import chisquare

from scoring.policies import POLICIES
from scoring.policies.base import ArmPolicy, Arms, Belief
from state.arm import Arm, Credit

CASES: dict[str, Arms] = {
    "one arm": ((3.0, 40.0),),
    "two equal": ((1.0, 19.0), (1.0, 19.0)),
    "three that differ": ((12.0, 300.0), (20.0, 310.0), (9.0, 200.0)),
    "four, one new": ((40.0, 960.0), (35.0, 965.0), (1.0, 19.0), (50.0, 950.0)),
    "concentrated": ((50_000.0, 950_000.0), (50_200.0, 949_800.0), (1.0, 19.0)),
    "below one": ((0.01, 0.2), (0.5, 9.5), (0.001, 0.001)),
}
EXTREMES: dict[str, Arms] = {
    "hopeless beside certain": ((1e-3, 1e6), (1e6, 1e-3)),
    "a million clicks each": ((1e6, 1e6),) * 4,
    "far apart and narrow": ((1e6, 19e6), (1.1e6, 19e6), (9e5, 19e6)),
    "all but nothing known": ((1e-6, 1e-6), (1e-6, 1e-6)),
    "beyond a thousand million": ((1e9, 19e9), (1e9, 19e9), (1.0, 1.0)),
}
PRIOR: Belief = (1.0, 19.0)
CONTEXTS: list[tuple[float, ...]] = [(), (1.0, 0.0), (0.0, 1.0), (-0.5, 0.25, 1.0)]
IDS = [f"d{number:024x}" for number in range(20_000)]


@pytest.fixture(params=sorted(POLICIES))
def policy(request: pytest.FixtureRequest) -> ArmPolicy:
    return POLICIES[request.param]()


@pytest.fixture(params=sorted(CASES))
def arms(request: pytest.FixtureRequest) -> Arms:
    return CASES[request.param]


@pytest.mark.parametrize("name", sorted(CASES | EXTREMES))
def test_probabilities_are_positive_and_sum_to_one(policy: ArmPolicy, name: str) -> None:
    arms = (CASES | EXTREMES)[name]
    probabilities = policy.probabilities(arms)
    assert len(probabilities) == len(arms)
    assert all(math.isfinite(p) and p > 0 for p in probabilities)
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-12)


def test_the_propensity_is_the_probability_of_the_chosen_arm(policy: ArmPolicy, arms: Arms) -> None:
    probabilities = policy.probabilities(arms)
    for name in IDS[:200]:
        place, propensity = policy.choose(name, arms)
        assert propensity == probabilities[place]


def test_a_decision_draws_the_same_arm_whenever_and_wherever_it_is_made(
    policy: ArmPolicy, arms: Arms
) -> None:
    elsewhere = type(policy)()
    first = [policy.choose(name, arms) for name in IDS[:500]]
    assert [policy.choose(name, arms) for name in reversed(IDS[:500])] == first[::-1]
    assert [elsewhere.choose(name, arms) for name in IDS[:500]] == first


def test_draws_of_many_decisions_follow_the_propensities(policy: ArmPolicy, arms: Arms) -> None:
    probabilities = policy.probabilities(arms)
    drawn = [0] * len(arms)
    for name in IDS:
        drawn[policy.choose(name, arms)[0]] += 1
    if len(arms) == 1:
        assert drawn == [len(IDS)]
        return
    expected = [p * len(IDS) for p in probabilities]
    likely = [place for place, count in enumerate(expected) if count >= 5]
    rare = sum(drawn[place] for place in range(len(arms)) if place not in likely)
    assert rare <= 20
    if len(likely) > 1:
        observed = [drawn[place] for place in likely]
        scale = sum(observed) / sum(expected[place] for place in likely)
        result = chisquare(observed, [expected[place] * scale for place in likely])
        assert result.pvalue > 1e-4


def test_equal_arms_are_equally_probable(policy: ArmPolicy) -> None:
    for count in (2, 3, 4):
        for arm in ((1.0, 1.0), (2.0, 50.0), (0.3, 4.0), (1e5, 2e6)):
            probabilities = policy.probabilities((arm,) * count)
            assert probabilities == pytest.approx((1 / count,) * count, abs=1e-9)


def test_the_order_of_the_arms_does_not_matter(policy: ArmPolicy) -> None:
    arms = CASES["four, one new"]
    forwards = policy.probabilities(arms)
    backwards = policy.probabilities(arms[::-1])
    assert backwards[::-1] == pytest.approx(forwards, abs=1e-12)


def test_an_arm_with_more_clicks_is_more_probable(policy: ArmPolicy) -> None:
    arms: Arms = ((10.0, 190.0), (14.0, 186.0), (20.0, 180.0))
    probabilities = policy.probabilities(arms)
    assert probabilities[0] <= probabilities[1] < probabilities[2]


def test_no_arm_at_all_is_an_error(policy: ArmPolicy) -> None:
    with pytest.raises(ValueError, match="no arm"):
        policy.choose(IDS[0], ())


def arm_of(clicks: int, exposures: int, context: tuple[float, ...] = ()) -> Arm:
    arm = Arm()
    for number in range(exposures):
        arm.apply(Credit(1_700_000_000_000 + number, float(number < clicks), context))
    return arm


def test_an_arm_of_which_nothing_is_known_is_believed_to_be_as_the_prior_says(
    policy: ArmPolicy,
) -> None:
    assert policy.belief(Arm(), PRIOR) == pytest.approx(PRIOR)
    for context in CONTEXTS:
        alpha, beta = policy.belief(Arm(), PRIOR, context)
        assert alpha / (alpha + beta) == pytest.approx(PRIOR[0] / sum(PRIOR))


def test_without_a_context_a_belief_counts_clicks_and_exposures(policy: ArmPolicy) -> None:
    assert policy.belief(arm_of(7, 90), PRIOR) == pytest.approx((8.0, 102.0))


@pytest.mark.parametrize("context", CONTEXTS)
def test_more_clicks_raise_what_is_believed_and_more_exposures_make_it_surer(
    policy: ArmPolicy, context: tuple[float, ...]
) -> None:
    few, many = (policy.belief(arm_of(n, 100, context), PRIOR, context) for n in (5, 15))
    surer = policy.belief(arm_of(50, 1_000, context), PRIOR, context)
    assert few[0] / sum(few) < many[0] / sum(many)
    assert sum(surer) > sum(few) > sum(policy.belief(Arm(), PRIOR, context))


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_belief_is_one_that_arms_can_be_chosen_by_whatever_was_met(
    policy: ArmPolicy, context: tuple[float, ...]
) -> None:
    arms = tuple(
        policy.belief(arm_of(clicks, 200, met), PRIOR, context)
        for clicks in (0, 200)
        for met in CONTEXTS
    )
    assert all(alpha > 0 and beta > 0 for alpha, beta in arms)
    assert sum(policy.probabilities(arms)) == pytest.approx(1.0)


def test_an_arm_that_slept_comes_back_as_it_went(policy: ArmPolicy) -> None:
    arms = CASES["four, one new"]
    before = policy.probabilities(arms)
    awake = policy.probabilities(arms[:2] + arms[3:])
    assert len(awake) == 3
    assert sum(awake) == pytest.approx(1.0)
    assert policy.probabilities(arms) == before
