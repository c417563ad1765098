"""Lift: by how much one group's mean is above another's, with an interval that is always valid.

An ordinary interval is right at one time that was fixed beforehand; who looks every minute and
stops when it leaves zero is wrong far more often than it says. A confidence sequence is right at
all times at once. This is the asymptotic one of Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences" (Annals of Statistics,
2024, theorem 2.2), that is Robbins' normal mixture (Howard, Ramdas, McAuliffe & Sekhon, Annals of
Statistics, 2021, section 3.2) with an estimated variance: with t the effective size of both
groups, σ²/t the squared standard error and η the size for which it is tuned,

    half width = σ/t · √((t + η) · ln((t + η) / (η · level²))).

CUPED (Deng, Xu, Kohavi & Walker, WSDM 2013) takes out of the metric what the customer's figure from
before explains: y - θ(x - mean x) with θ = cov(x, y) / var(x), both pooled within the groups. What
was before cannot depend on the variant, so the mean difference stays and its variance shrinks by
the squared correlation.
"""

from __future__ import annotations

from math import inf, log, sqrt
from typing import Final, NamedTuple, overload

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from scoring.experiments.sums import Sums

LEAST: Final = 100
"""Customers of each group before there is an interval: it leans on the central limit theorem."""

_ROUNDING: Final = 1e-9
"""Of a squared mean: what a sum of squares around it may be when all figures are the same."""

Vector = NDArray[np.float64]


class Plan(NamedTuple):
    """How often the interval may be wrong, and at how many customers of both it is narrowest."""

    level: float = 0.05
    planned: int = 10_000


class Lift(Struct, frozen=True):
    """Means of both groups, their difference, and the treated mean over the control's less 1.

    Each with its interval; the relative one is unbounded while the control's mean may be 0.
    ``variance_left`` is the part of the variance that CUPED has left.
    """

    control: float
    treated: float
    difference: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float
    variance_left: float


def lift(control: Sums, treated: Sums, plan: Plan) -> Lift | None:
    """Compare two groups; None while there is too little to say anything.

    Too little are fewer than `LEAST` customers in a group, or a group all of whom did the same.
    """
    if min(control.n, treated.n) < LEAST:
        return None
    groups = (_Spread(control), _Spread(treated))
    within_xx = sum(group.xx for group in groups)
    theta = sum(group.xy for group in groups) / within_xx if within_xx > 0 else 0.0
    variances = [group.variance(theta) for group in groups]
    if any(group.yy <= _ROUNDING * group.y**2 for group in groups) or min(variances) <= 0:
        return None
    before = (control.x + treated.x) / (control.n + treated.n)
    means = [group.y - theta * (group.x - before) for group in groups]
    difference = means[1] - means[0]
    squares = [spread / group.n for spread, group in zip(variances, groups, strict=True)]
    size = control.n * treated.n / (control.n + treated.n)
    errors = float(half_width(1.0, size, plan))
    half = errors * sqrt(sum(squares))
    plain = sum(group.variance(0.0) / group.n for group in groups)
    relative = means[1] / means[0] - 1 if means[0] else inf
    return Lift(
        means[0],
        means[1],
        difference,
        difference - half,
        difference + half,
        relative,
        *_relative(means, squares, errors),
        sum(squares) / plain if plain else 1.0,
    )


@overload
def half_width(standard_error: float, size: float, plan: Plan) -> float: ...
@overload
def half_width(standard_error: Vector, size: Vector, plan: Plan) -> Vector: ...
def half_width(standard_error: float | Vector, size: float | Vector, plan: Plan) -> float | Vector:
    """Half the width of the interval of a difference of means, for one look of many.

    ``size`` is n₀ n₁ / (n₀ + n₁), a quarter of all customers when both groups are alike.
    """
    rest = -2 * log(plan.level)
    tuned = plan.planned / 4 / (rest + log(rest + 1))
    grown: float | Vector = size + tuned
    found: float | Vector = standard_error * np.sqrt(
        grown / size * np.log(grown / (tuned * plan.level**2))
    )
    return found


class _Spread:
    """Means of a group, and the sums of squares and products around them."""

    def __init__(self, sums: Sums) -> None:
        self.n = sums.n
        self.y, self.x = sums.y / sums.n, sums.x / sums.n
        self.yy = sums.yy - sums.y * self.y
        self.xx = sums.xx - sums.x * self.x
        self.xy = sums.xy - sums.x * self.y

    def variance(self, theta: float) -> float:
        """Of y - θx."""
        return (self.yy - 2 * theta * self.xy + theta * theta * self.xx) / (self.n - 1)


def _relative(means: list[float], squares: list[float], errors: float) -> tuple[float, float]:
    """Fieller's interval of treated / control - 1, ``errors`` standard errors wide to each side.

    A ratio r is in it when treated - r · control is as near to 0 as that: a quadratic in r. For
    the true ratio this holds at all times, because the interval of a difference does.
    """
    control, treated = means
    wide = errors * errors
    a = control * control - wide * squares[0]
    if a <= 0:
        return -inf, inf
    c = treated * treated - wide * squares[1]
    b = control * treated
    root = sqrt(max(0.0, b * b - a * c))
    return (b - root) / a - 1, (b + root) / a - 1
