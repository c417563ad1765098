"""Spending power: the band that a customer's monthly average lies in, and how sure that is.

How often a customer buys is a rate of their own, drawn from a gamma that all share, and what an
order is worth is Gamma-Gamma (`jobs.analytics.clv`). What was seen of a customer leaves a posterior
of either, so also of their monthly average: the band is the one that most of it lies in, and the
confidence is how much. Who was seen for a day is not taken for what they bought on it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from jobs.analytics.clv import OrderValue, fit_order_value
from schemas.errors import UserMistake

Numbers = NDArray[np.float64]

MONTH_DAYS: Final = 365.25 / 12
BANDS: Final = ("low", "middle", "high")
DRAWS: Final = 400
_CHUNK: Final = 20_000
LEAST: Final = 50
"""Customers who bought, below which nothing is learned of the others."""


class Spending(Struct, frozen=True):
    """Rates are Gamma(``r``, ``alpha``) orders a day; ``edges`` part all customers into thirds."""

    r: float
    alpha: float
    value: OrderValue
    edges: tuple[float, float]


class Power(Struct, frozen=True):
    """Of each customer: the band, its probability, and the monthly average that is expected."""

    band: NDArray[Any]
    confidence: Numbers
    monthly: Numbers


def fit(orders: Any, days: Any, mean: Any, rng: np.random.Generator) -> Spending:
    """The likeliest of it all: orders of each customer, days since first seen, mean order's worth.

    Raises:
        UserMistake: too few bought, or the numbers cannot be.
    """
    from scipy.optimize import minimize
    from scipy.special import gammaln

    x, t = np.asarray(orders, dtype=float), np.asarray(days, dtype=float)
    if not (np.isfinite(x).all() and np.isfinite(t).all() and (x >= 0).all() and (t > 0).all()):
        raise UserMistake("orders or days with gaps or below 0; did a clock run backwards?")
    if (x > 0).sum() < LEAST:
        raise UserMistake(f"{int((x > 0).sum())} customers bought; spending power needs {LEAST}")
    value = fit_order_value(x, mean)

    def loss(logs: Numbers) -> float:
        r, alpha = np.exp(logs)
        each = gammaln(r + x) - gammaln(r) + r * np.log(alpha / (alpha + t))
        return -float((each - x * np.log(alpha + t)).mean())

    rate = float(x.sum() / t.sum())
    found = minimize(
        loss, np.array([0.0, -np.log(rate)]), method="L-BFGS-B", bounds=[(-12, 12)] * 2
    )
    r, alpha = np.exp(found.x)
    known = Spending(float(r), float(alpha), value, (0.0, 0.0))
    part = rng.choice(len(x), min(len(x), _CHUNK), replace=False)
    drawn = _draws(known, x[part], t[part], np.asarray(mean, dtype=float)[part], rng, 20)
    low, high = np.quantile(drawn, (1 / 3, 2 / 3))
    return Spending(known.r, known.alpha, value, (float(low), float(high)))


def power(known: Spending, orders: Any, days: Any, mean: Any, rng: np.random.Generator) -> Power:
    """What is concluded of each customer."""
    x, t, m = (np.asarray(each, dtype=float) for each in (orders, days, mean))
    shares, monthly = np.zeros((len(x), len(BANDS))), np.zeros(len(x))
    for at in range(0, len(x), _CHUNK):
        mine = slice(at, at + _CHUNK)
        drawn = _draws(known, x[mine], t[mine], m[mine], rng, DRAWS)
        within = np.searchsorted(known.edges, drawn.ravel(), "right").reshape(drawn.shape)
        for place in range(len(BANDS)):
            shares[mine, place] = (within == place).mean(axis=1)
        monthly[mine] = drawn.mean(axis=1)
    best = shares.argmax(axis=1)
    return Power(np.array(BANDS)[best], shares.max(axis=1), monthly)


def _draws(
    known: Spending, x: Numbers, t: Numbers, m: Numbers, rng: np.random.Generator, count: int
) -> Numbers:
    """Monthly averages that each customer may have, a row each."""
    means = np.where(x > 0, np.nan_to_num(m), 0.0)
    a_day = rng.gamma((known.r + x)[:, None], 1.0, (len(x), count)) / (known.alpha + t)[:, None]
    value = known.value
    n = rng.gamma((value.q + value.p * x)[:, None], 1.0, (len(x), count))
    n /= (value.v + x * means)[:, None]
    found: Numbers = MONTH_DAYS * a_day * value.p / n
    return found
