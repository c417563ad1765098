"""Off-policy evaluation: what another policy would have earned, from what this one logged.

Each logged round has the arm that was chosen, the probability with which it was, what came of it,
and the probability with which the policy in question would have chosen that arm. With weights
w = target / propensity and rewards r, over n rounds:

- IPS, Σ w r / n: unbiased where the logging policy gives every arm a chance that the target does
  (Horvitz and Thompson, 1952; Li et al., "Unbiased offline evaluation", WSDM 2011);
- SNIPS, Σ w r / Σ w: a little biased, much steadier (Swaminathan and Joachims, NIPS 2015);
- DR, Σ (q̄ + w (r - q)) / n with an estimate q of the reward of each arm: unbiased if either q or
  the propensities are right (Dudík, Langford and Li, ICML 2011). q is cross-fitted: that of a
  round is learned from the other folds (Chernozhukov et al., 2018).

Beside each estimate stand its standard error with the interval of the normal distribution, one by
the percentile bootstrap (Efron, 1979), and for IPS the empirical-Bernstein interval, which holds
at any n but is wide (Maurer and Pontil, COLT 2009, theorem 4). The effective sample size is Kish's,
(Σ w)² / Σ w². Below `LEAST_EFFECTIVE`, or where an arm of the target was never tried, no answer is
given: it would be a guess with an interval.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

LEAST_EFFECTIVE: Final = 30.0
LEAST_SUPPORT: Final = 1e-9
"""Below this, a target's probability of an arm counts as none."""
BOOTSTRAPS: Final = 2_000
FOLDS: Final = 5
_PRIOR_ROUNDS: Final = 20.0
_CHUNK: Final = 100
_CLEARLY: Final = 0.001


class Unsupported(ValueError):
    """The log cannot answer: ``arms`` of the target that were not, or all but not, tried."""

    def __init__(self, arms: Sequence[Hashable], why: str) -> None:
        self.arms = tuple(arms)
        super().__init__(why)


class Round(NamedTuple):
    """One logged choice.

    ``target`` is the probability of each arm that the target policy might choose, in the same
    situation. Rounds in which different arms were open are fine.
    """

    arm: Hashable
    propensity: float
    reward: float
    target: Mapping[Hashable, float]


class Interval(Struct, frozen=True):
    """Bounds that hold with the confidence that was asked for."""

    low: float
    high: float


class Estimate(Struct, frozen=True):
    """The mean reward of the target policy, by one estimator."""

    value: float
    standard_error: float
    normal: Interval
    bootstrap: Interval
    bernstein: Interval | None = None


class Evaluation(Struct, frozen=True):
    """What the log says of the target policy.

    ``logged`` is the mean reward of the policy that made the log, ``weight_mean`` about 1 if the
    propensities are right.
    """

    rounds: int
    effective: float
    weight_mean: float
    weight_max: float
    logged: float
    ips: Estimate
    snips: Estimate
    dr: Estimate


def evaluate(
    rounds: Sequence[Round], *, confidence: float = 0.95, seed: int = 0, most: float | None = None
) -> Evaluation:
    """Evaluate a target policy on logged rounds.

    ``most`` is the largest reward there can be, for the empirical-Bernstein interval; the largest
    that was seen when not given. Bootstrap resamples are drawn from ``seed``: the same rounds
    give the same figures.

    Raises:
        Unsupported: arms of the target that were never tried, or too few effective rounds.
        ValueError: a propensity or a probability that is none, or a reward that is no number.
    """
    arms, chosen, propensity, reward, target = _arrays(rounds)
    _check_support(arms, chosen, propensity, target)
    rows = np.arange(len(rounds))
    weight = target[rows, chosen] / propensity
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    if effective < LEAST_EFFECTIVE:
        raise Unsupported(
            _rarest(arms, chosen, target),
            f"{len(rounds)} rounds are worth {effective:.1f} of the target policy's own; "
            f"at least {LEAST_EFFECTIVE:.0f} are needed",
        )
    model = _rewards_of_arms(chosen, reward, len(arms))
    terms_ips = weight * reward
    snips = float(terms_ips.sum() / weight.sum())
    terms_dr = (target * model).sum(axis=1) + weight * (reward - model[rows, chosen])
    draws = _bootstrap(np.stack((terms_ips, weight, terms_dr)), seed)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    error = _error(terms_ips)
    largest = float(reward.max()) if most is None else most
    reach = largest / float(propensity.min())
    return Evaluation(
        rounds=len(rounds),
        effective=effective,
        weight_mean=float(weight.mean()),
        weight_max=float(weight.max()),
        logged=float(reward.mean()),
        ips=_estimate(
            float(terms_ips.mean()), error, draws[0], z, confidence,
            _bernstein(terms_ips, reach, confidence) if reward.min() >= 0 else None,
        ),
        # By the delta method: the ratio's linearised terms.
        snips=_estimate(
            snips,
            _error(weight * (reward - snips) / weight.mean()),
            draws[0] / draws[1],
            z,
            confidence,
        ),
        dr=_estimate(float(terms_dr.mean()), _error(terms_dr), draws[2], z, confidence),
    )  # fmt: skip


def _arrays(
    rounds: Sequence[Round],
) -> tuple[list[Hashable], NDArray[np.intp], Vector, Vector, Matrix]:
    if not rounds:
        raise Unsupported((), "the log is empty")
    places: dict[Hashable, int] = {}
    for each in rounds:
        places.setdefault(each.arm, len(places))
        for arm in each.target:
            places.setdefault(arm, len(places))
    chosen = np.array([places[each.arm] for each in rounds])
    propensity = np.array([each.propensity for each in rounds], dtype=np.float64)
    reward = np.array([each.reward for each in rounds], dtype=np.float64)
    target = np.zeros((len(rounds), len(places)))
    for row, each in enumerate(rounds):
        for arm, share in each.target.items():
            target[row, places[arm]] = share
    if not (np.all(propensity > 0) and np.all(propensity <= 1)):
        raise ValueError("a logged propensity is not in (0, 1]")
    if not np.all(np.isfinite(reward)):
        raise ValueError("a logged reward is not a finite number")
    if not (np.all(target >= 0) and np.allclose(target.sum(axis=1), 1.0, atol=1e-6)):
        raise ValueError("the target's probabilities of a round are negative or do not sum to 1")
    return list(places), chosen, propensity, reward, target


def _check_support(
    arms: list[Hashable], chosen: NDArray[np.intp], propensity: Vector, target: Matrix
) -> None:
    """Every arm that the target would choose must have been tried.

    Only the chosen arm's propensity is logged, so an arm is known to have had a chance by having
    been chosen; and were the target's arms always open to the log, the weights' mean would be 1.
    """
    tried = np.bincount(chosen, minlength=len(arms))
    wanted = target.max(axis=0) > LEAST_SUPPORT
    lacking = [arm for place, arm in enumerate(arms) if wanted[place] and not tried[place]]
    if lacking:
        raise Unsupported(lacking, f"never tried in {len(chosen)} rounds: {_names(lacking)}")
    weight = target[np.arange(len(chosen)), chosen] / propensity
    short = 1.0 - float(weight.mean())
    if short > 0.05 and short / max(_error(weight), 1e-12) > NormalDist().inv_cdf(1 - _CLEARLY):
        mass = np.bincount(chosen, weights=weight, minlength=len(arms)) / len(chosen)
        missing = target.mean(axis=0) - mass
        closed = [arm for place, arm in enumerate(arms) if missing[place] > short / (2 * len(arms))]
        raise Unsupported(
            closed,
            f"{short:.0%} of what the target would choose had no chance in the log; "
            f"most of it of {_names(closed)}",
        )


def _names(arms: Sequence[Hashable]) -> str:
    return ", ".join(sorted(map(str, arms)))


def _rarest(arms: list[Hashable], chosen: NDArray[np.intp], target: Matrix) -> tuple[Hashable, ...]:
    """The arms that the target wants more often than they were tried, most wanting first."""
    tried = np.bincount(chosen, minlength=len(arms)) / len(chosen)
    lacking = target.mean(axis=0) - tried
    return tuple(arms[place] for place in np.argsort(-lacking) if lacking[place] > 0)


def _rewards_of_arms(chosen: NDArray[np.intp], reward: Vector, arms: int) -> Matrix:
    """For each round, the mean reward of each arm in the other folds, drawn towards that of all."""
    model = np.empty((len(chosen), arms))
    fold = np.arange(len(chosen)) % FOLDS
    for each in range(FOLDS):
        others = fold != each
        overall = float(reward[others].mean()) if others.any() else 0.0
        count = np.bincount(chosen[others], minlength=arms)
        total = np.bincount(chosen[others], weights=reward[others], minlength=arms)
        model[fold == each] = (total + _PRIOR_ROUNDS * overall) / (count + _PRIOR_ROUNDS)
    return model


def _bootstrap(terms: Matrix, seed: int) -> Matrix:
    """Means of each row of terms over resampled rounds."""
    random = np.random.Generator(np.random.PCG64(seed))
    count = terms.shape[1]
    means = np.empty((len(terms), BOOTSTRAPS))
    even = np.full(count, 1 / count)
    for start in range(0, BOOTSTRAPS, _CHUNK):
        drawn = random.multinomial(count, even, size=_CHUNK)
        means[:, start : start + _CHUNK] = terms @ drawn.T / count
    return means


def _bernstein(terms: Vector, reach: float, confidence: float) -> Interval:
    """Both one-sided bounds of Maurer and Pontil, for terms in [0, ``reach``]."""
    count = len(terms)
    risk = np.log(4 / (1 - confidence))
    slack = np.sqrt(2 * terms.var(ddof=1) * risk / count) + 7 * reach * risk / (3 * (count - 1))
    mean = float(terms.mean())
    return Interval(max(0.0, mean - float(slack)), mean + float(slack))


def _error(terms: Vector) -> float:
    return float(terms.std(ddof=1) / np.sqrt(len(terms)))


def _estimate(
    value: float,
    error: float,
    draws: Vector,
    z: float,
    confidence: float,
    bernstein: Interval | None = None,
) -> Estimate:
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(
        value,
        error,
        Interval(value - z * error, value + z * error),
        Interval(float(low), float(high)),
        bernstein,
    )
