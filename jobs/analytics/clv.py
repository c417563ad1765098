"""What a customer will be worth: BG/NBD for how often they buy, Gamma-Gamma for how much.

BG/NBD (Fader, Hardie and Lee, 2005): while active a customer buys at a rate of their own, and after
each purchase they leave with a probability of their own. ``repeats`` counts the purchases after the
first, ``last`` is the time from the first to the last purchase, ``age`` from the first until now;
all in days. Gamma-Gamma (Fader and Hardie, 2013): the value of an order varies about a mean of the
customer's own, and does not depend on how often they buy.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from schemas.errors import UserMistake

Numbers = NDArray[np.float64]

LEAST: Final = 50
"""Customers who came back that a fit needs; fewer say too little of the others."""

_QUANTILES: Final = 128


class Frequency(Struct, frozen=True):
    """BG/NBD: purchase rates are Gamma(``r``, ``alpha``), chances to leave Beta(``a``, ``b``)."""

    r: float
    alpha: float
    a: float
    b: float

    def expected(self, days: float, repeats: Any, last: Any, age: Any) -> Numbers:
        """Purchases in the next ``days`` that are expected of each customer."""
        from scipy.special import hyp2f1

        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        x, age_ = np.asarray(repeats, dtype=float), np.asarray(age, dtype=float)
        reach = alpha + age_
        lost = hyp2f1(r + x, b + x, a + b + x - 1, days / (reach + days))
        grown = (a + b + x - 1) / (a - 1) * (1 - (reach / (reach + days)) ** (r + x) * lost)
        broken = ~np.isfinite(grown)
        if broken.any():  # customers nearly alike have an r beyond what hyp2f1 can do
            x_, reach_ = np.broadcast_arrays(x, reach)
            grown = np.where(broken, self._averaged(days, x_, reach_), grown)
        return np.asarray(grown * self.alive(x, last, age_))

    def _averaged(self, days: float, x: Numbers, reach: Numbers) -> Numbers:
        """The same, of who is active, as a mean over the chances to leave that they may have."""
        from scipy.special import betaincinv

        counts, place = np.unique(x, return_inverse=True)
        place = place.reshape(x.shape)
        grown = np.zeros(x.shape)
        for share in (np.arange(_QUANTILES) + 0.5) / _QUANTILES:
            chance = np.maximum(betaincinv(self.a, self.b + counts, share), 1e-12)[place]
            grown -= np.expm1(-(self.r + x) * np.log1p(chance * days / reach)) / chance
        return grown / _QUANTILES

    def alive(self, repeats: Any, last: Any, age: Any) -> Numbers:
        """The probability that each customer has not left."""
        x = np.asarray(repeats, dtype=float)
        since = (self.r + x) * (
            np.log(self.alpha + np.asarray(age, dtype=float))
            - np.log(self.alpha + np.asarray(last, dtype=float))
        )
        odds = self.a / (self.b + np.maximum(x, 1) - 1) * np.exp(np.minimum(since, 700))
        return np.asarray(np.where(x > 0, 1 / (1 + odds), 1.0))


class OrderValue(Struct, frozen=True):
    """Gamma-Gamma: a customer's orders are worth Gamma(``p``, n), and n is Gamma(``q``, ``v``)."""

    p: float
    q: float
    v: float

    def expected(self, orders: Any, mean: Any) -> Numbers:
        """The mean value of an order that is expected of each customer, pulled towards all's."""
        n, m = np.asarray(orders, dtype=float), np.asarray(mean, dtype=float)
        return np.asarray(self.p * (self.v + n * m) / (self.p * n + self.q - 1))


def fit_frequency(repeats: Any, last: Any, age: Any) -> Frequency:
    """The likeliest BG/NBD.

    Raises:
        UserMistake: too few customers came back, or the numbers cannot be.
    """
    from scipy.special import betaln, gammaln

    x, t_x, age_ = (np.asarray(each, dtype=float) for each in (repeats, last, age))
    _check_frequency(x, t_x, age_)
    scale = max(1.0, float(age_.max()) / 10)  # near 1 the search is at ease
    rows = np.column_stack([x, np.round(t_x), np.round(age_)])
    seen, counts = np.unique(rows, axis=0, return_counts=True)  # few are unlike all others
    x, t_x, age_ = seen[:, 0], seen[:, 1] / scale, seen[:, 2] / scale
    again = x > 0

    def loss(logs: Numbers) -> float:
        r, alpha, a, b = np.exp(logs)
        base = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        base += betaln(a, b + x) - betaln(a, b)
        stays = -(r + x) * np.log(alpha + age_)
        leaves = np.log(a) - np.log(b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + t_x)
        # B(a, b+x) holds the chances to stay x times; whoever left did so after the last purchase.
        both = np.where(again, np.logaddexp(stays, leaves), stays)
        return -float(np.sum(counts * (base + both)) / counts.sum())

    r, alpha, a, b = _search(loss, (np.zeros(4), np.array([-1.0, 0.0, -0.5, 0.5])), "BG/NBD")
    return Frequency(r, alpha * scale, a, b)


def fit_order_value(orders: Any, mean: Any) -> OrderValue:
    """The likeliest Gamma-Gamma, of customers with at least two orders.

    Raises:
        UserMistake: too few of them, or all orders are worth the same.
    """
    from scipy.special import gammaln

    n, m = np.asarray(orders, dtype=float), np.asarray(mean, dtype=float)
    again = (n >= 2) & (m > 0) & np.isfinite(m)
    n, m = n[again], m[again]
    if len(n) < LEAST:
        raise UserMistake(
            f"{len(n)} customers with two priced orders or more; Gamma-Gamma needs {LEAST}"
        )
    if np.ptp(m) == 0:
        raise UserMistake("all orders are worth the same: there is nothing to learn of their value")
    scale = float(m.mean())
    m = m / scale

    def loss(logs: Numbers) -> float:
        p, q, v = np.exp(logs[0]), 1 + np.exp(logs[1]), np.exp(logs[2])
        likelihood = (
            gammaln(p * n + q)
            - gammaln(p * n)
            - gammaln(q)
            + q * np.log(v)
            + (p * n - 1) * np.log(m)
            + p * n * np.log(n)
            - (p * n + q) * np.log(v + n * m)
        )
        return -float(likelihood.mean())

    p, q, v = _search(loss, (np.array([1.0, 1.0, 0.0]), np.zeros(3)), "Gamma-Gamma")
    return OrderValue(p, 1 + q, v * scale)


def lifetime_value(
    frequency: Frequency, value: OrderValue, days: float, *, repeats: Any, last: Any, age: Any,
    orders: Any, mean: Any,
) -> Numbers:  # fmt: skip
    """Money expected of each customer in the next ``days``; nothing is discounted."""
    counts = np.asarray(orders, dtype=float)
    means = np.where(counts > 0, np.nan_to_num(np.asarray(mean, dtype=float)), 0.0)
    worth = value.expected(counts, means)
    return np.asarray(np.maximum(0.0, frequency.expected(days, repeats, last, age) * worth))


def _check_frequency(x: Numbers, t_x: Numbers, age: Numbers) -> None:
    if not (np.isfinite(x).all() and np.isfinite(t_x).all() and np.isfinite(age).all()):
        raise UserMistake("purchase counts or times with gaps; fill or drop them first")
    if (x < 0).any() or (t_x < 0).any() or (t_x > age).any():
        raise UserMistake(
            "a last purchase before the first, or after now: did a clock run backwards?"
        )
    back = int((x > 0).sum())
    if back < LEAST:
        raise UserMistake(f"{back} customers bought twice or more; BG/NBD needs {LEAST}")


def _search(loss: Any, starts: tuple[Numbers, ...], what: str) -> list[float]:
    """The positive parameters of the least loss, from the best of some beginnings."""
    from scipy.optimize import minimize

    found = [
        minimize(loss, start, method="L-BFGS-B", bounds=[(-12, 12)] * len(start))
        for start in starts
    ]
    best = min(found, key=lambda each: float(each.fun))
    if not np.isfinite(best.fun):
        raise UserMistake(f"{what} does not fit: its likelihood is not finite at any beginning")
    return [float(each) for each in np.exp(best.x)]
