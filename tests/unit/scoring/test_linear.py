"""Linear beliefs against the textbook, and what contexts tell a policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.outcome import CHANNELS
from scoring.policies.context import CONTEXTS, context_of
from scoring.policies.linear import LinearThompson
from scoring.policies.thompson import BetaThompson
from state.arm import Arm, Credit
from state.profile import Profile
from tests.strategies import fact_of

START_MS = 1_700_000_000_000
PRIOR = (1.0, 19.0)
LINEAR = LinearThompson()
credits_ = st.lists(
    st.tuples(
        st.booleans(), st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([-1.0, 0.0, 0.5]))
    ),
    max_size=60,
)


def learned(worth: list[tuple[bool, tuple[float, ...]]]) -> Arm:
    arm = Arm()
    for number, (clicked, context) in enumerate(worth):
        arm.apply(Credit(START_MS + number, float(clicked), context))
    return arm


@settings(deadline=None)
@given(credits_, st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([-1.0, 0.0, 0.5])))
def test_a_belief_has_the_mean_and_the_weight_of_the_regression(
    worth: list[tuple[bool, tuple[float, ...]]], context: tuple[float, ...]
) -> None:
    design = np.array([(1.0, *numbers) for _, numbers in worth]).reshape(-1, 3)
    rewards = np.array([float(clicked) for clicked, _ in worth])
    inverse = np.linalg.inv(20 * np.diag([1, 4, 4]) + design.T @ design)
    x = np.array((1.0, *context))
    mean = x @ inverse @ (design.T @ rewards + np.array([1.0, 0.0, 0.0]))
    alpha, beta = LINEAR.belief(learned(worth), PRIOR, context)
    assert alpha + beta == pytest.approx(1 / (x @ inverse @ x))
    assert alpha / (alpha + beta) == pytest.approx(min(max(mean, 1e-4), 1 - 1e-4))


def test_its_probabilities_are_those_of_sampling_the_regressions_posterior() -> None:
    """The Beta stands for the normal posterior: by its moments, so nearly the same choices."""
    rng = np.random.default_rng(3)
    arms = []
    for ratios in ((0.10, 0.04), (0.07, 0.09), (0.06, 0.06)):
        clicks = [(bool(rng.random() < ratios[n % 2]), (float(n % 2),)) for n in range(400)]
        arms.append(learned(clicks))
    for context in ((0.0,), (1.0,)):
        x = np.array((1.0, *context))
        draws = []
        for arm in arms:
            met = np.array([[arm.met[0], arm.met[1]], [arm.met[1], arm.met[2]]])
            inverse = np.linalg.inv(20 * np.diag([1, 4]) + met)
            mean = x @ inverse @ (np.array(arm.won) + np.array([1.0, 0.0]))
            spread = (mean * (1 - mean) * (x @ inverse @ x)) ** 0.5
            draws.append(rng.normal(mean, spread, 200_000))
        shares = np.bincount(np.argmax(draws, axis=0), minlength=3) / 200_000
        beliefs = tuple(LINEAR.belief(arm, PRIOR, context) for arm in arms)
        assert LINEAR.probabilities(beliefs) == pytest.approx(shares.tolist(), abs=0.04)


def test_what_is_good_in_one_context_is_chosen_there_and_not_elsewhere() -> None:
    here, there = (0.0,), (1.0,)
    one = learned([(n % 10 == 0, here) for n in range(500)] + [(False, there)] * 500)
    two = learned([(n % 10 == 0, there) for n in range(500)] + [(False, here)] * 500)
    for context, best in ((here, 0), (there, 1)):
        beliefs = tuple(LINEAR.belief(arm, PRIOR, context) for arm in (one, two))
        assert LINEAR.probabilities(beliefs)[best] > 0.99
    blind = BetaThompson()
    same = tuple(blind.belief(arm, PRIOR, here) for arm in (one, two))
    assert blind.probabilities(same) == pytest.approx((0.5, 0.5))


def test_numbers_that_an_arm_never_met_leave_its_mean_and_widen_it() -> None:
    arm = learned([(n % 10 == 0, ()) for n in range(300)])
    known = LINEAR.belief(arm, PRIOR)
    new = LINEAR.belief(arm, PRIOR, (1.0, 1.0))
    assert new[0] / sum(new) == pytest.approx(known[0] / sum(known))
    assert sum(new) < sum(known)


def test_every_context_has_a_name_of_its_own_and_numbers_that_tell_it_apart() -> None:
    assert len({context.name for context in CONTEXTS}) == len(CONTEXTS) == 48
    told = {tuple(context.numbers(channel) for channel in CHANNELS) for context in CONTEXTS}
    assert len(told) == len(CONTEXTS)
    assert {len(context.numbers("sms")) for context in CONTEXTS} == {6}


def outcome(kind: str, channel: str, minute: int) -> dict[str, Any]:
    return {
        "kind": kind,
        "outcome_id": f"{kind}{minute}",
        "user_id": "u1",
        "decision_id": f"d{minute}",
        "channel": channel,
        "ts": START_MS + minute * 60_000,
    }


def test_the_context_is_read_off_the_profile() -> None:
    assert context_of(Profile(), 3).name == "never-bought/night/none"
    told = [
        *(outcome("delivered", "push", minute) for minute in range(30)),
        outcome("clicked", "push", 31),
        outcome("delivered", "email", 40),
        outcome("clicked", "email", 41),
        {
            "event_id": "e1",
            "user_id": "u1",
            "action": "purchase",
            "item_id": "i1",
            "ts": START_MS + 60 * 60_000,
        },
    ]
    assert (
        context_of(Profile(b"", [fact_of(record) for record in told]), 47).name
        == "bought-once/evening/email"
    )
