"""When: time to an event whose end is not seen of everybody. Weibull for dates, Cox for reasons.

Whoever has not had the event yet is censored, not dropped: what is known of them is that it takes
longer. Durations are in days and positive.
"""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from jobs.trainers.base import Matrix
from schemas.errors import UserMistake

LEAST_EVENTS: Final = 10
PRIOR_VISITS: Final = 12.0
"""How many visits of one's own weigh as much as the habit of the segment."""


class Hazard(Struct, frozen=True):
    """What one covariate does to the rate, with its 95 % interval.

    ``proportional_p`` tests that the effect stays the same over time; below 0.05 it does not.
    """

    name: str
    coefficient: float
    ratio: float
    low: float
    high: float
    p: float
    proportional_p: float


class Cox(Struct, frozen=True):
    """Hazard ratios, and how often the model orders two customers rightly."""

    hazards: list[Hazard]
    concordance: float
    rows: int
    events: int


class Weibull(Struct, frozen=True):
    """S(t | x) = exp(-(t / scale(x)) ^ shape), scale(x) = exp(intercept + x · slopes)."""

    names: tuple[str, ...]
    intercept: float
    slopes: tuple[float, ...]
    shape: float
    log_likelihood: float
    base_log_likelihood: float
    base_intercept: float = 0.0
    base_shape: float = 1.0

    def base_survival(self, days: float) -> float:
        """The same of anybody: what the baseline, which knows no covariates, says."""
        return float(np.exp(-((days / np.exp(self.base_intercept)) ** self.base_shape)))

    def scale(self, covariates: Matrix) -> Matrix:
        """The days after which 63 % have had the event."""
        found: Matrix = np.exp(
            np.clip(self.intercept + covariates @ np.array(self.slopes), -20, 20)
        )
        return found

    def survival(self, covariates: Matrix, days: Matrix | float) -> Matrix:
        """P(no event within ``days``)."""
        found: Matrix = np.exp(-((np.asarray(days) / self.scale(covariates)) ** self.shape))
        return found

    def median_days(self, covariates: Matrix) -> Matrix:
        """The days after which half have had it."""
        found: Matrix = self.scale(covariates) * np.log(2.0) ** (1 / self.shape)
        return found

    def within(self, covariates: Matrix, since_days: Matrix, days: float) -> Matrix:
        """P(event within ``days`` more | none for ``since_days``)."""
        now = self.survival(covariates, since_days)
        then = self.survival(covariates, since_days + days)
        found: Matrix = 1 - then / np.maximum(now, 1e-300)
        return found


def cox(frame: Any, duration: str, event: str) -> Cox:
    """Fit Cox's model of the other columns of a data frame.

    Raises:
        UserMistake: too few events to tell.
    """
    from lifelines import CoxPHFitter
    from lifelines.statistics import proportional_hazard_test

    _check(np.asarray(frame[duration], float), np.asarray(frame[event], float))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = CoxPHFitter().fit(frame, duration, event)
        tested = proportional_hazard_test(fitted, frame, time_transform="rank").summary
    table = fitted.summary
    return Cox(
        hazards=[
            Hazard(
                str(name),
                float(row["coef"]),
                float(row["exp(coef)"]),
                float(row["exp(coef) lower 95%"]),
                float(row["exp(coef) upper 95%"]),
                float(row["p"]),
                float(tested.loc[name, "p"]),
            )
            for name, row in table.iterrows()
        ],
        concordance=float(fitted.concordance_index_),
        rows=len(frame),
        events=int(frame[event].sum()),
    )


def weibull(names: tuple[str, ...], covariates: Matrix, days: Matrix, observed: Matrix) -> Weibull:
    """Fit by maximum likelihood with its exact gradient; the baseline knows no covariates.

    Raises:
        UserMistake: too few events, or a duration that is not positive.
    """
    _check(days, observed)
    base = _fit(np.zeros((len(days), 0)), days, observed)
    whole = _fit(covariates, days, observed)
    return Weibull(
        names=names,
        intercept=float(whole[0][0]),
        slopes=tuple(whole[0][1:-1].tolist()),
        shape=float(np.exp(whole[0][-1])),
        log_likelihood=whole[1],
        base_log_likelihood=base[1],
        base_intercept=float(base[0][0]),
        base_shape=float(np.exp(base[0][-1])),
    )


def best_hours(counts: Matrix, groups: NDArray[Any]) -> tuple[NDArray[np.int64], Matrix]:
    """The hour of each customer's habit (rows of 24 counts), and how much of it is their own.

    Shrunk to the habit of the group: who came twice is taken for like the others.
    """
    hours = np.empty(len(counts), np.int64)
    for group in np.unique(groups):
        mine = groups == group
        habit = counts[mine].sum(axis=0) + 1.0
        blended = counts[mine] + PRIOR_VISITS * habit / habit.sum()
        hours[mine] = blended.argmax(axis=1)
    visits = counts.sum(axis=1)
    return hours, visits / (visits + PRIOR_VISITS)


def _check(days: Matrix, observed: Matrix) -> None:
    if not (np.isfinite(days).all() and (days > 0).all()):
        raise UserMistake("a duration is not a positive number of days; a clock ran backwards")
    if observed.sum() < LEAST_EVENTS:
        raise UserMistake(
            f"{int(observed.sum())} events in {len(days)} rows; at least {LEAST_EVENTS} are needed "
            "to tell when the next will be"
        )


def _fit(covariates: Matrix, days: Matrix, observed: Matrix) -> tuple[Matrix, float]:
    from scipy.optimize import minimize

    mean = covariates.mean(axis=0)
    spread = covariates.std(axis=0)
    scale = np.where(spread > 1e-9, spread, 1.0)
    x = np.column_stack((np.ones(len(days)), (covariates - mean) / scale))
    log_t = np.log(days)

    def loss(theta: Matrix) -> tuple[float, Matrix]:
        shape = np.exp(theta[-1])
        z = log_t - x @ theta[:-1]
        hazard = np.exp(np.clip(shape * z, -700, 50))
        value = observed @ (theta[-1] - log_t + shape * z) - hazard.sum()
        slope = -shape * (x.T @ (observed - hazard))
        by_shape = observed @ (1 + shape * z) - hazard @ (shape * z)
        return -float(value), -np.append(slope, by_shape)

    start = np.zeros(x.shape[1] + 1)
    start[0] = np.log(days.sum() / observed.sum())
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    theta = found.x.copy()
    theta[1:-1] = theta[1:-1] / scale
    theta[0] -= theta[1:-1] @ mean
    return theta, -float(found.fun)
