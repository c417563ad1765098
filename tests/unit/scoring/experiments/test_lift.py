"""Intervals that hold however often they are looked at, and what CUPED does to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.experiment import Experiment, Variant
from scoring.experiments.lift import LEAST, Lift, Plan, half_width, lift
from scoring.experiments.readout import Cell, readout
from scoring.experiments.sums import Sums

PLAN = Plan(0.05, 8_000)
RUNS, MINUTES, A_MINUTE = 2_000, 1_440, 10
figures = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=30)


def sums_of(y: NDArray[np.float64], x: NDArray[np.float64] | None = None) -> Sums:
    x = np.zeros_like(y) if x is None else x
    parts = (y.sum(), (y * y).sum(), x.sum(), (x * x).sum(), (x * y).sum())
    return Sums(len(y), *map(float, parts))


def clicks(rng: np.random.Generator, n: int, ratio: float) -> Sums:
    count = float(rng.binomial(n, ratio))
    return Sums(n, count, count)


def found(control: Sums, treated: Sums, plan: Plan = PLAN) -> Lift:
    result = lift(control, treated, plan)
    assert result is not None
    return result


@pytest.mark.parametrize(("control", "treated"), [(0.05, 0.05), (0.02, 0.02), (0.05, 0.07)])
def test_looked_at_every_minute_it_errs_no_more_often_than_stated(
    control: float, treated: float
) -> None:
    """A day of minutes, ten customers to a group in each; wrong at any of them is wrong."""
    rng = np.random.default_rng(20)
    n = np.arange(1, MINUTES + 1) * A_MINUTE
    means = [
        rng.binomial(A_MINUTE, ratio, (RUNS, MINUTES)).cumsum(axis=1) / n
        for ratio in (control, treated)
    ]
    error = np.sqrt(sum(mean * (1 - mean) for mean in means) / (n - 1))
    off = np.abs(means[1] - means[0] - (treated - control))
    open_ = (n >= LEAST) & (np.minimum(*means) > 0)
    ever = (open_ & (off > half_width(error, n / 2, PLAN))).any(axis=1).mean()
    peeked = (open_ & (off > 1.96 * error)).any(axis=1).mean()
    assert ever <= 0.05
    assert peeked > 0.25, "an ordinary interval, looked at as often, is why this one is wider"
    one = found(*(Sums(int(n[-1]), y := float(mean[0, -1] * n[-1]), y) for mean in means))
    assert (one.high - one.low) / 2 == pytest.approx(float(half_width(error, n / 2, PLAN)[0, -1]))


def test_it_narrows_to_little_more_than_an_ordinary_interval() -> None:
    size = PLAN.planned / 4
    assert 1.96 < half_width(1.0, size, PLAN) < 1.96 * 1.6
    sizes = np.array([50.0, 500.0, 5_000.0, 50_000.0, 5e7])
    widths = half_width(1 / np.sqrt(sizes), sizes, PLAN)
    assert (np.diff(widths) < 0).all()
    for planned in (2_000, 32_000):
        assert half_width(1.0, size, Plan(0.05, planned)) > half_width(1.0, size, PLAN)


def test_a_hundred_seeded_runs_contain_the_true_lift() -> None:
    rng = np.random.default_rng(4)
    contained = relative = zero = 0
    for _ in range(100):
        result = found(clicks(rng, 6_000, 0.05), clicks(rng, 6_000, 0.08))
        contained += result.low <= 0.03 <= result.high
        relative += result.relative_low <= 0.6 <= result.relative_high
        zero += result.low <= 0 <= result.high
    assert contained >= 95
    assert relative >= 95
    assert zero <= 5, "a lift that is there is seen"


def test_the_relative_interval_is_at_zero_exactly_when_the_absolute_one_is() -> None:
    rng = np.random.default_rng(5)
    signs = set()
    for ratio in np.linspace(0.05, 0.075, 60):
        result = found(clicks(rng, 4_000, 0.05), clicks(rng, 4_000, float(ratio)))
        signs.add(result.low > 0)
        assert (result.low > 0) == (result.relative_low > 0)
        assert result.relative_low < result.relative < result.relative_high
    assert signs == {True, False}


def test_the_relative_lift_is_unbounded_while_the_control_may_be_zero() -> None:
    result = found(Sums(200, 1.0, 1.0), Sums(200, 20.0, 20.0))
    assert (result.relative_low, result.relative_high) == (-math.inf, math.inf)


def test_cuped_lowers_the_variance_by_the_squared_correlation_and_stays_unbiased() -> None:
    rng = np.random.default_rng(6)
    n, correlation, truth = 1_000, 0.8, 0.3
    adjusted, plain, left = [], [], []
    for _ in range(400):
        groups = []
        for effect in (0.0, truth):
            x = rng.normal(10, 2, n)
            noise = rng.normal(0, 1, n) * math.sqrt(1 - correlation**2)
            groups.append((5 + correlation * (x - 10) / 2 + noise + effect, x))
        result = found(*(sums_of(y, x) for y, x in groups))
        adjusted.append(result.difference)
        left.append(result.variance_left)
        plain.append(float(groups[1][0].mean() - groups[0][0].mean()))
        assert result.low <= result.difference <= result.high
    error = np.std(adjusted, ddof=1) / math.sqrt(len(adjusted))
    assert abs(np.mean(adjusted) - truth) < 3 * error
    assert np.mean(left) == pytest.approx(1 - correlation**2, abs=0.02)
    assert np.var(adjusted) / np.var(plain) == pytest.approx(1 - correlation**2, abs=0.1)


def test_with_cuped_it_still_errs_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(200):
        x, noise = rng.normal(0, 1, (2, 3_000)), rng.exponential(1, (2, 3_000))
        groups = 0.7 * x + noise
        wrong += any(
            not (
                result := found(*(sums_of(y[:n], b[:n]) for y, b in zip(groups, x, strict=True)))
            ).low
            <= 0
            <= result.high
            for n in range(100, 3_000, 50)
        )
    assert wrong <= 0.05 * 200


def test_a_covariate_that_is_always_the_same_changes_nothing() -> None:
    rng = np.random.default_rng(8)
    y = rng.exponential(5, (2, 500))
    with_it = found(*(sums_of(row, np.full(500, 3.0)) for row in y))
    without = found(*(sums_of(row) for row in y))
    assert with_it.low == pytest.approx(without.low)
    assert with_it.variance_left == pytest.approx(1.0)


@pytest.mark.parametrize(
    "groups",
    [
        (Sums(99, 5.0, 5.0), Sums(500, 30.0, 30.0)),
        (Sums(500, 0.0, 0.0), Sums(500, 30.0, 30.0)),
        (Sums(500, 30.0, 30.0), Sums(500, 50.0, 5.0)),
        (Sums(), Sums()),
    ],
)
def test_too_little_says_nothing(groups: tuple[Sums, Sums]) -> None:
    assert lift(*groups, PLAN) is None


@given(figures, figures)
def test_sums_do_not_mind_order_merging_or_removal(
    ours: list[tuple[int, int]], theirs: list[tuple[int, int]]
) -> None:
    one, other, both = Sums(), Sums(), Sums()
    for sums, rows in ((one, ours), (other, theirs), (both, [*theirs[::-1], *ours])):
        for y, x in rows:
            sums.add(y / 4, x / 4)
    assert one.merged(other) == both
    for y, x in theirs:
        both.remove(y / 4, x / 4)
    assert both == one


def test_a_readout_compares_every_variant_with_the_control_for_each_metric_and_segment() -> None:
    rng = np.random.default_rng(11)
    variants = (Variant("control", 0.5), Variant("warm", 0.25), Variant("bold", 0.25))
    sizes = {"control": 8_000, "warm": 4_000, "bold": 4_000}
    cells = {
        Cell(name, metric, segment): clicks(rng, size // (2 if segment else 1), ratio)
        for name, size in sizes.items()
        for metric, ratio in (("clicked", 0.05 if name == "control" else 0.09), ("left", 0.02))
        for segment in ("", "new")
    }
    cells[Cell("warm", "rare")] = Sums(4_000, 3.0, 3.0)
    result = readout(Experiment("spring", variants), sizes, cells)
    assert not result.ratio.mismatched()
    assert set(result.lifts) == {cell for cell in cells if cell.variant != "control"} - {
        Cell("warm", "rare")
    }
    assert result.lifts[Cell("bold", "clicked")].low > 0
    assert result.lifts[Cell("bold", "left", "new")].low < 0
    lost = readout(Experiment("spring", variants), {**sizes, "bold": 3_000}, {})
    assert lost.ratio.mismatched()
