"""What a log can tell of another policy, and when it must say that it cannot."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.evaluation import Evaluation, Interval, Round, Unsupported, evaluate
from tests.shared_data import rows_of

RATES = {"a": 0.1, "b": 0.3, "c": 0.2}
LOGGING = {"a": 0.5, "b": 0.2, "c": 0.3}
TARGET = {"a": 0.1, "b": 0.8, "c": 0.1}
TRUTH = sum(TARGET[arm] * RATES[arm] for arm in RATES)


def logged(
    seed: int, count: int = 1_000, target: dict[str, float] = TARGET, scale: float = 1.0
) -> list[Round]:
    random = np.random.default_rng(seed)
    arms = random.choice(list(LOGGING), size=count, p=list(LOGGING.values()))
    draws = random.random(count)
    return [
        Round(str(arm), LOGGING[arm], scale * float(draw < RATES[arm]), target)
        for arm, draw in zip(arms, draws, strict=True)
    ]


def holds(interval: Interval | None, value: float) -> bool:
    assert interval is not None
    return interval.low <= value <= interval.high


def test_the_logging_policy_is_worth_what_it_earned() -> None:
    found = evaluate(logged(1, target=LOGGING))
    assert found.ips.value == pytest.approx(found.logged)
    assert found.snips.value == pytest.approx(found.logged)
    assert found.effective == pytest.approx(found.rounds)
    assert found.weight_mean == pytest.approx(1)


@pytest.fixture(scope="module")
def runs() -> list[Evaluation]:
    """The same market, logged two hundred times."""
    return [evaluate(logged(seed, 600)) for seed in range(200)]


def test_intervals_hold_the_truth_as_often_as_they_promise(runs: list[Evaluation]) -> None:
    hits: Counter[str] = Counter()
    for found in runs:
        hits["bernstein"] += holds(found.ips.bernstein, TRUTH)
        for name in ("ips", "snips", "dr"):
            estimate = getattr(found, name)
            hits[name] += holds(estimate.normal, TRUTH)
            hits[f"{name} bootstrap"] += holds(estimate.bootstrap, TRUTH)
    # 95 % of 200 is 190; three standard deviations of that are 9.
    assert min(hits.values()) >= 181, hits
    assert hits["bernstein"] == len(runs)


def test_estimates_have_no_bias_to_speak_of_and_dr_varies_less_than_ips(
    runs: list[Evaluation],
) -> None:
    spread = {}
    for name in ("ips", "snips", "dr"):
        values = np.array([getattr(each, name).value for each in runs])
        errors = np.array([getattr(each, name).standard_error for each in runs])
        spread[name] = float(values.std())
        assert abs(values.mean() - TRUTH) < 3 * values.std() / np.sqrt(len(values))
        # A deviation over 200 runs is itself known to 5 %; four of those are allowed.
        assert values.std() == pytest.approx(errors.mean(), rel=0.2)
    assert spread["dr"] < spread["ips"]


def test_dr_is_right_where_the_propensities_are_not_but_the_rewards_are_known() -> None:
    # Every arm always gives the same reward, so the model of rewards is exact in the limit.
    wrong = [
        Round(each.arm, 0.9 * each.propensity, RATES[str(each.arm)], TARGET)
        for each in logged(3, 20_000)
    ]
    found = evaluate(wrong)
    assert found.ips.value == pytest.approx(TRUTH / 0.9, rel=0.03)
    assert found.dr.value == pytest.approx(TRUTH, rel=0.01)


def test_the_same_log_gives_the_same_figures() -> None:
    assert evaluate(logged(5)) == evaluate(logged(5))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.25, 3.0, 100.0]))
def test_rewards_in_another_unit_give_estimates_in_that_unit(seed: int, scale: float) -> None:
    # A short log may by chance lack what the target wants, and is then refused in any unit.
    one, other = evaluate(logged(seed, 1_000)), evaluate(logged(seed, 1_000, scale=scale))
    for name in ("ips", "snips", "dr"):
        expected = scale * getattr(one, name).value
        assert getattr(other, name).value == pytest.approx(expected)


def test_arms_that_were_never_tried_are_named() -> None:
    target = {"a": 0.5, "sms": 0.3, "push": 0.2}
    with pytest.raises(Unsupported, match=r"never tried in 1000 rounds: push, sms") as refusal:
        evaluate(logged(1, target=target))
    assert set(refusal.value.arms) == {"sms", "push"}


def test_a_log_that_had_an_arm_closed_half_of_the_time_is_refused() -> None:
    half = [
        each if number % 2 else Round("a", 1.0, each.reward, TARGET)
        for number, each in enumerate(logged(1))
    ]
    with pytest.raises(Unsupported, match="had no chance in the log") as refusal:
        evaluate(half)
    assert "b" in refusal.value.arms


def test_arms_that_were_closed_to_both_policies_do_no_harm() -> None:
    closed = [
        each if number % 2 else Round("a", 1.0, each.reward, {"a": 1.0})
        for number, each in enumerate(logged(1))
    ]
    assert evaluate(closed).weight_mean == pytest.approx(1, abs=0.15)


def test_a_log_worth_too_few_rounds_is_refused() -> None:
    rare = [Round("a", 0.99, 0.0, {"b": 1.0})] * 990 + [Round("b", 0.01, 1.0, {"b": 1.0})] * 10
    with pytest.raises(Unsupported, match=r"worth 10\.0 of") as refusal:
        evaluate(rare)
    assert refusal.value.arms == ("b",)
    with pytest.raises(Unsupported, match="empty"):
        evaluate([])


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (Round("a", 0.0, 0.0, TARGET), "propensity"),
        (Round("a", 1.5, 0.0, TARGET), "propensity"),
        (Round("a", float("nan"), 0.0, TARGET), "propensity"),
        (Round("a", 0.5, float("inf"), TARGET), "reward"),
        (Round("a", 0.5, 0.0, {"a": 0.5}), "sum to 1"),
        (Round("a", 0.5, 0.0, {"a": 1.5, "b": -0.5}), "negative"),
    ],
)
def test_a_log_of_impossible_figures_is_refused(bad: Round, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        evaluate([*logged(1), bad])


def test_a_real_log_of_random_choices_tells_what_thompson_sampling_earned() -> None:
    """Open Bandit Dataset, men: 10 000 impressions of each policy."""
    random, thompson = (rows_of(f"open_bandit_men/{name}.csv.gz") for name in ("random", "bts"))
    assert np.mean([1 / float(row["propensity_score"]) for row in random]) == pytest.approx(34)
    shown: dict[str, Counter[str]] = defaultdict(Counter)
    for row in thompson:
        shown[row["position"]][row["item_id"]] += 1
    mix = {
        position: {item: count / counts.total() for item, count in counts.items()}
        for position, counts in shown.items()
    }
    found = evaluate(
        [
            Round(
                row["item_id"],
                float(row["propensity_score"]),
                float(row["click"]),
                mix[row["position"]],
            )
            for row in random
        ],
        most=1.0,
    )
    clicks = sum(int(row["click"]) for row in thompson)
    truth = clicks / len(thompson)
    assert (clicks, found.logged) == (69, 0.0046)
    assert found.effective > 2_500
    assert found.weight_mean == pytest.approx(1, abs=0.03)
    for estimate in (found.ips, found.snips, found.dr):
        assert estimate.value > found.logged
        assert holds(estimate.normal, truth)
        assert holds(estimate.bootstrap, truth)
        assert estimate.standard_error < 0.0015
    assert holds(found.ips.bernstein, truth)
