"""The probabilities of `BetaThompson` against three ways to know them."""

from __future__ import annotations

from math import exp, lgamma, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from scoring.policies.base import Arms
from scoring.policies.thompson import BetaThompson

THOMPSON = BetaThompson()


def second_beats_first(a: tuple[float, float], b: tuple[float, float]) -> float:
    """P(B > A) of two Betas, B's alpha a whole number: the closed form of Evan Miller."""

    def log_beta(x: float, y: float) -> float:
        return lgamma(x) + lgamma(y) - lgamma(x + y)

    return sum(
        exp(log_beta(a[0] + i, a[1] + b[1]) - log(b[1] + i) - log_beta(1 + i, b[1]) - log_beta(*a))
        for i in range(int(b[0]))
    )


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1.0, 1.0), (2.0, 1.0)),
        ((1.0, 19.0), (3.0, 40.0)),
        ((30.0, 500.0), (25.0, 600.0)),
        ((2_000.0, 30_000.0), (2_100.0, 31_000.0)),
        ((0.5, 3.0), (1.0, 0.25)),
    ],
)
def test_two_arms_agree_with_the_closed_form(
    a: tuple[float, float], b: tuple[float, float]
) -> None:
    assert THOMPSON.probabilities((a, b))[1] == pytest.approx(second_beats_first(a, b), abs=1e-9)


@pytest.mark.parametrize(
    "arms",
    [
        ((2.0, 5.0), (3.0, 4.0), (4.0, 9.0)),
        ((12.0, 300.0), (20.0, 310.0), (1.0, 19.0)),
        ((1.5, 1.5), (40.0, 40.0), (3.0, 2.0), (400.0, 380.0)),
    ],
)
def test_many_arms_agree_with_adaptive_quadrature(arms: Arms) -> None:
    betas = [stats.beta(*arm) for arm in arms]
    for place, probability in enumerate(THOMPSON.probabilities(arms)):
        others = betas[:place] + betas[place + 1 :]

        def integrand(x: float, mine: int = place, rest: list = others) -> float:  # type: ignore[type-arg]
            return float(betas[mine].pdf(x) * np.prod([other.cdf(x) for other in rest]))

        peaks = sorted(beta.mean() for beta in betas)
        exact, _ = integrate.quad(integrand, 0, 1, points=peaks, limit=400, epsabs=1e-11)
        assert probability == pytest.approx(exact, abs=1e-8)


@pytest.mark.parametrize(
    "arms",
    [
        ((12.0, 300.0), (20.0, 310.0), (9.0, 200.0)),
        ((0.3, 2.0), (0.7, 6.0), (5.0, 60.0)),
        ((1e6, 19e6), (1.001e6, 19e6), (50.0, 950.0)),
    ],
)
def test_sampling_from_each_arm_chooses_as_often(arms: Arms) -> None:
    draws = 400_000
    rng = np.random.default_rng(20)
    samples = np.stack([rng.beta(a, b, draws) for a, b in arms])
    shares = np.bincount(samples.argmax(axis=0), minlength=len(arms)) / draws
    for share, p in zip(shares, THOMPSON.probabilities(arms), strict=True):
        assert abs(share - p) <= 4.5 * (p * (1 - p) / draws) ** 0.5 + 1e-6


def test_a_certain_arm_leaves_the_others_a_positive_rest() -> None:
    worst, best = THOMPSON.probabilities(((1.0, 1e6), (1e6, 1.0)))
    assert 0 < worst < 1e-9
    assert best > 1 - 1e-9


shape = st.floats(min_value=0, max_value=6).map(lambda power: 10**power)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(shape, shape), min_size=2, max_size=4))
def test_what_the_panels_miss_is_nothing(shapes: list[tuple[float, float]]) -> None:
    """Without normalising, the parts of all arms already add up to the whole."""
    assert sum(THOMPSON._weigh(tuple(shapes))) == pytest.approx(1.0, abs=1e-9)
