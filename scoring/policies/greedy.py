"""The baselines: the arm of the highest score, but for a part of the decisions that explores.

The arm of the highest score would be chosen with certainty, and nothing could be learned about the
others from what was logged. So a part of the decisions, ``explored``, is spread over all arms
evenly; the propensity is the sum of both ways to be chosen, exactly.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from scoring.policies.base import ArmPolicy, Arms

_TIE: Final = 1e-9  # of the highest score: equal but for rounding


class EpsilonGreedy(ArmPolicy):
    """The arm of the highest mean (Sutton & Barto, "Reinforcement Learning", 2018, section 2.2)."""

    def __init__(self, explored: float = 0.1) -> None:
        super().__init__()
        self._explored = explored

    def _weigh(self, arms: Arms) -> list[float]:
        alpha, beta = np.array(arms, dtype=np.float64).T
        return _spread(alpha / (alpha + beta), self._explored)


class BayesUcb(ArmPolicy):
    """The arm that may be the best yet: of the highest upper quantile of its posterior.

    The quantile is that of 1 - 1/t after t exposures of all arms, prior ones included (Kaufmann,
    Cappé, Garivier, "On Bayesian Upper Confidence Bounds for Bandit Problems", AISTATS 2012). It
    knows that a click-through near 0 has a small variance, which UCB1's bound does not.
    """

    def __init__(self, explored: float = 0.06) -> None:
        super().__init__()
        self._explored = explored

    def _weigh(self, arms: Arms) -> list[float]:
        from scipy.special import betaincinv  # 60 MB that only this policy needs

        alpha, beta = np.array(arms, dtype=np.float64).T
        rest = 1 / max(2.0, float(alpha.sum() + beta.sum()))
        return _spread(betaincinv(alpha, beta, 1 - rest), self._explored)


def _spread(scores: NDArray[np.float64], explored: float) -> list[float]:
    """The explored part to all arms, the rest to the highest score, divided where it is a tie."""
    best = scores >= scores.max() * (1 - _TIE)
    weights: list[float] = (explored / len(scores) + (1 - explored) * best / best.sum()).tolist()
    return weights
