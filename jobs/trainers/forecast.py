"""Visitors per hour and sales per item: a model against the season, on days it has not seen."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from jobs.trainers.base import Matrix
from schemas.errors import UserMistake

DAY: Final = 24
LEAST_DAYS: Final = 4
CLASSES: Final = (("large", 20.0), ("middle", 5.0), ("small", 0.0))
"""Items by what they sell in a day: name, least."""


class Hourly(Struct, frozen=True):
    """A forecast of the last day's hours, beside the season's (the same hour of the day before)."""

    actual: tuple[float, ...]
    model: tuple[float, ...]
    season: tuple[float, ...]
    model_error: float
    season_error: float
    r2: float
    ahead: tuple[float, ...]

    @property
    def wins(self) -> bool:
        """Whether it is better than the season."""
        return self.model_error < self.season_error


class ItemClass(Struct, frozen=True):
    """Items that sell about as much: relative error of a day's sales, ours and yesterday's."""

    name: str
    items: int
    model_error: float
    season_error: float


def hourly(counts: Matrix) -> Hourly:
    """Forecast the day that follows from the hours of whole days, oldest first.

    Hours of the day get a mean of the days so far, newer ones weighing more, times the level of
    the newest day: a Poisson rate with a season. Error is the sum of absolute errors over the sum.

    Raises:
        UserMistake: too few days.
    """
    days = counts.reshape(-1, DAY)
    if len(days) < LEAST_DAYS:
        raise UserMistake(f"{len(days)} whole days; at least {LEAST_DAYS} are needed for a season")
    ours, season, actual = _next(days[:-1]), days[-2], days[-1]
    total = max(1.0, float(actual.sum()))
    spread = float(((actual - actual.mean()) ** 2).sum())
    return Hourly(
        actual=tuple(actual.tolist()),
        model=tuple(ours.tolist()),
        season=tuple(season.tolist()),
        model_error=float(np.abs(ours - actual).sum()) / total,
        season_error=float(np.abs(season - actual).sum()) / total,
        r2=1 - float(((ours - actual) ** 2).sum()) / spread if spread else 0.0,
        ahead=tuple(_next(days).tolist()),
    )


def items(sales: Matrix) -> tuple[Matrix, list[ItemClass]]:
    """Sales of each item (rows) by day (columns) → the day that follows, and the error by class.

    An item's rate is shrunk to that of all items by what it sold (gamma-Poisson), so that what sold
    once is not taken for what sells once a day.

    Raises:
        UserMistake: too few days.
    """
    if sales.shape[1] < LEAST_DAYS:
        raise UserMistake(f"{sales.shape[1]} days; at least {LEAST_DAYS} are needed for a forecast")
    past, actual = sales[:, :-1], sales[:, -1]
    ours, yesterday = _rates(past), past[:, -1]
    level = past.mean(axis=1)
    found, above = [], np.inf
    for name, least in CLASSES:
        mine = (level >= least) & (level < above)
        above = least
        if mine.any():
            total = max(1.0, float(actual[mine].sum()))
            found.append(
                ItemClass(
                    name,
                    int(mine.sum()),
                    float(np.abs(ours[mine] - actual[mine]).sum()) / total,
                    float(np.abs(yesterday[mine] - actual[mine]).sum()) / total,
                )
            )
    return _rates(sales), found


def days_left(stock: Matrix, rates: Matrix) -> NDArray[Any]:
    """After how many days each item is gone."""
    return np.asarray(stock / np.maximum(rates, 1e-9))


def _next(days: Matrix) -> Matrix:
    weights = 0.8 ** np.arange(len(days))[::-1]
    level = days.sum(axis=1, keepdims=True)
    shape = (weights[:, None] * days).sum(axis=0) / (weights[:, None] * level).sum()
    smooth: Matrix = shape * float((weights @ level[:, 0]) / weights.sum())
    return smooth


def _rates(past: Matrix) -> Matrix:
    mean = past.mean(axis=1)
    overall = max(1e-9, float(mean.mean()))
    noise = overall / past.shape[1]
    between = max(1e-9, float(mean.var()) - noise)
    shape = overall**2 / between
    rate = overall / between
    shrunk: Matrix = (past.sum(axis=1) + shape) / (past.shape[1] + rate)
    return shrunk
