"""Visitors per hour and sales per item: a model against the season, on days it has not seen.

Both are rates of counts: a log-linear correction of a forecast that needs no learning. Without data
to say otherwise it stays at that forecast, for its slopes are drawn there, not to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jobs.trainers import metrics
from jobs.trainers.base import CALIBRATED, Matrix, Sample, Setup, Trained, Trainer, named
from jobs.trainers.card import Card, Fold, by_groups, data_window, forward
from jobs.trainers.learned import learned, run
from schemas.errors import UserMistake

DAY: Final = 24
DAY_MS: Final = 86_400_000
LEAST_DAYS: Final = 4
STRENGTHS: Final = (1.0, 10.0, 100.0, 1_000.0)
"""Weight of the prior at the plain forecast, in counted units; searched over time."""

CLASSES: Final = (("large", 20.0), ("middle", 5.0), ("small", 0.0))
"""Items by what they sell in a day: name, least."""

HOURLY: Final = ("smooth_log", "yesterday_log", "before_log", "weekend")
DAILY: Final = ("smooth_log", "yesterday_log", "mean_log")
LEAST_OF_A_GROUP: Final = 6
_LEAST: Final = 0.05


def visitors(counts: Matrix, first_ms: int) -> Sample:
    """Rows of hours from those of whole days, oldest first; the baseline is the hour a day before.

    Raises:
        UserMistake: too few days.
    """
    days = counts.reshape(-1, DAY)
    if len(days) < LEAST_DAYS:
        raise UserMistake(f"{len(days)} whole days; at least {LEAST_DAYS} are needed for a season")
    told = range(1, len(days))
    parts = np.array(["night", "morning", "afternoon", "evening"])
    return Sample(
        names=HOURLY,
        features=np.vstack([hourly_inputs(days[:at], first_ms + at * DAY_MS) for at in told]),
        target=days[1:].ravel(),
        at_ms=np.repeat(first_ms + DAY_MS * np.array(told), DAY),
        groups={"time of day": np.tile(parts[np.arange(DAY) // 6], len(told))},
        base=days[:-1].ravel(),
    )


def hourly_inputs(days: Matrix, at_ms: int) -> Matrix:
    """What is known of the hours of the day that begins at ``at_ms``, from the days before it."""
    weights = 0.8 ** np.arange(len(days))[::-1]
    level = days.sum(axis=1)
    shape = (weights[:, None] * days).sum(axis=0) / max(1e-9, float(weights @ level))
    smooth = shape * float(weights @ level) / weights.sum()
    weekend = float((at_ms // DAY_MS + 3) % 7 >= 5)  # the epoch began on a Thursday
    ago = days[-7] if len(days) >= 7 else days[0]
    return np.column_stack((_log(smooth), _log(days[-1]), _log(ago), np.full(DAY, weekend)))


def sales(sold: Matrix, first_ms: int, categories: Sequence[str] = ()) -> Sample:
    """Rows of items and days from sales by item (rows) and day; the baseline is the item's mean.

    Raises:
        UserMistake: too few days.
    """
    items, days = sold.shape
    if days < LEAST_DAYS:
        raise UserMistake(f"{days} days; at least {LEAST_DAYS} are needed for a forecast")
    told = range(1, days)
    groups = {"class": np.concatenate([class_of(sold[:, :at]) for at in told])}
    if len(categories):
        groups["category"] = np.tile(np.asarray(categories, str), len(told))
    return Sample(
        names=DAILY,
        features=np.vstack([daily_inputs(sold[:, :at]) for at in told]),
        target=sold[:, 1:].T.ravel(),
        at_ms=np.repeat(first_ms + DAY_MS * np.array(told), items),
        groups=groups,
        base=np.concatenate([(sold[:, :at].sum(axis=1) + 0.5) / (at + 1) for at in told]),
    )


def daily_inputs(past: Matrix) -> Matrix:
    """What is known of each item before a day, from its sales until then.

    The rate is shrunk to that of all items by what it sold (gamma-Poisson), so that what sold once
    is not taken for what sells once a day.
    """
    mean = past.mean(axis=1)
    overall = max(1e-9, float(mean.mean()))
    between = max(1e-9, float(mean.var()) - overall / past.shape[1])
    shrunk = (past.sum(axis=1) + overall**2 / between) / (past.shape[1] + overall / between)
    return np.column_stack((_log(shrunk), _log(past[:, -1]), _log(mean)))


def class_of(past: Matrix) -> NDArray[Any]:
    """The class of each item by what it sold in a day."""
    level, found = past.mean(axis=1), np.full(len(past), CLASSES[-1][0], dtype="<U8")
    for name, least in reversed(CLASSES):
        found[level >= least] = name
    return found


def week(ahead: Matrix, days: Matrix, first_ms: int) -> tuple[float, ...]:
    """The hours of a week, Monday 00:00 first: tomorrow's hours, at each weekday's own level.

    A weekday counts as much as it was seen: one seen once is taken half for like the others.
    """
    level = days.sum(axis=1)
    weekday = (first_ms // DAY_MS + 3 + np.arange(len(days))) % 7
    mean = max(1e-9, float(level.mean()))
    morrow = (first_ms // DAY_MS + 3 + len(days)) % 7
    factors = np.array([(level[weekday == at].sum() + mean) / mean / ((weekday == at).sum() + 1)
                        for at in range(7)])  # fmt: skip
    return tuple(np.outer(factors / factors[morrow], ahead).ravel().tolist())


def fit_visitors(sample: Sample, setup: Setup) -> Trained:
    """See `jobs.trainers.base.Trainer`."""
    return _fit(
        sample,
        setup,
        "visitors",
        "visitors of each hour of tomorrow, for offers in the quiet ones",
        "staff rotas; it knows what the archive counts, not who comes without being seen",
        "the same hour of the day before",
    )


def fit_sales(sample: Sample, setup: Setup) -> Trained:
    """See `jobs.trainers.base.Trainer`."""
    return _fit(
        sample,
        setup,
        "sales",
        "sales of each item tomorrow, to warn before it is sold out",
        "orders to suppliers: it knows no lead times, and no season longer than the archive",
        "the item's mean day until then",
    )


def _fit(
    sample: Sample, setup: Setup, name: str, purpose: str, not_for: str, baseline: str
) -> Trained:
    from jobs.trainers import graphs

    sample.check()
    if sample.base is None:
        raise UserMistake("counts need the baseline's rates beside them")
    if (sample.target < 0).any():
        raise UserMistake("a count is below 0; count the events anew")
    edges = np.flatnonzero(np.diff(sample.at_ms)) + 1
    if not len(edges):
        raise UserMistake("one day alone cannot be judged by another; take more days")
    cut = int(edges[np.argmin(np.abs(edges - CALIBRATED * len(sample.target)))])
    x, y, base = sample.features, sample.target, sample.base
    searched = {strength: _folds(sample, cut, strength) for strength in STRENGTHS}
    best = min(searched, key=lambda each: sum(fold.loss for fold in searched[each]))
    weights, bias = poisson(x[:cut], y[:cut], best)
    rates = np.exp(x[cut:] @ weights + bias)
    data = graphs.linear(weights.tolist(), bias, "exp")
    rng = np.random.default_rng((setup.seed, 18))
    card = Card(
        purpose=purpose,
        not_for=not_for,
        window=data_window(sample.at_ms),
        rows=len(y),
        trained_until_ms=int(sample.at_ms[cut - 1]),
        metrics=metrics.measure_counts(y[cut:], rates, base[cut:], rng, 50 if setup.quick else 200),
        baseline=baseline,
        groups=by_groups(
            y[cut:],
            rates,
            {kind: column[cut:] for kind, column in sample.groups.items()},
            metrics.poisson_losses(y[cut:], rates),
            LEAST_OF_A_GROUP,
        ),
        notes=(
            f"Poisson regression, prior of {best:g} at the plain forecast; its mean is that of "
            "the rows it learned from, so there is no calibration apart",
            "importance is the log of the rate that one standard deviation moves",
        ),
        folds=tuple(searched[best]),
        calibration=tuple(metrics.calibration(y[cut:], rates, 10)),
        lift=tuple(metrics.lift(y[cut:], rates)),
        importance=sorted(
            zip(sample.names, (weights * x.std(axis=0)).tolist(), strict=True),
            key=lambda pair: -abs(pair[1]),
        ),
        parity=float(np.abs(run(data, x[cut:]) - rates).max()),
    )
    version = named(setup.version, data)
    record = learned(name, version, data, sample.names, x[cut:], setup.updated_ms)
    kinds = next(iter(sample.groups.values()), np.full(len(y), "all"))[cut:]
    return Trained(record, card, {"Error by class": _errors(kinds, y[cut:], rates, base[cut:])})


def poisson(x: Matrix, y: Matrix, strength: float) -> tuple[Matrix, float]:
    """Slopes and intercept of the likeliest rates, drawn to the first input alone."""
    from scipy.optimize import minimize

    prior = np.zeros(x.shape[1] + 1)
    prior[0] = 1.0
    whole = np.column_stack((x, np.ones(len(x))))

    def loss(theta: Matrix) -> tuple[float, Matrix]:
        inner = np.clip(whole @ theta, -20, 20)
        rates, off = np.exp(inner), theta - prior
        value = float(rates.sum() - y @ inner + strength * (off @ off) / 2)
        return value, whole.T @ (rates - y) + strength * off

    found = minimize(loss, prior, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return found.x[:-1], float(found.x[-1])


def _folds(sample: Sample, rows: int, strength: float) -> list[Fold]:
    found = []
    assert sample.base is not None
    for old, new in forward(rows, sample.at_ms):
        weights, bias = poisson(sample.features[old], sample.target[old], strength)
        rates = np.exp(sample.features[new] @ weights + bias)
        y = sample.target[new]
        lost, idle = (
            float(metrics.poisson_losses(y, each).mean()) for each in (rates, sample.base[new])
        )
        found.append(Fold(old.stop, len(y), lost, idle))
    return found


def _errors(
    kinds: NDArray[Any], counts: Matrix, rates: Matrix, base: Matrix
) -> tuple[tuple[str, ...], list[tuple[Any, ...]], str]:
    """The relative error by class, ours and the baseline's."""
    rows: list[tuple[Any, ...]] = []
    for name in np.unique(kinds):
        mine = kinds == name
        total = max(1.0, float(counts[mine].sum()))
        ours, theirs = (float(np.abs(each[mine] - counts[mine]).sum()) / total
                        for each in (rates, base))  # fmt: skip
        rows.append((str(name), int(mine.sum()), float(counts[mine].sum()), ours, theirs))
    columns = ("class", "rows", "counted", "forecast's error", "baseline's error")
    return columns, rows, "sum of absolute errors over the sum"


def days_left(stock: Matrix, rates: Matrix) -> NDArray[Any]:
    """After how many days each item is gone."""
    return np.asarray(stock / np.maximum(rates, 1e-9))


def _log(values: Matrix) -> Matrix:
    found: Matrix = np.log(np.maximum(values, _LEAST))
    return found


VISITORS: Final = Trainer("count", fit_visitors, HOURLY)
SALES: Final = Trainer("count", fit_sales, DAILY)
