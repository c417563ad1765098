"""Linear Thompson sampling: Thompson's choice among arms whose click-through has a context."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from scoring.policies.base import Belief
from scoring.policies.thompson import BetaThompson
from state.arm import Arm

_LEAST: Final = 1e-4  # a line may leave [0, 1]; a click-through does not


class LinearThompson(BetaThompson):
    """Bayesian linear regression of each arm's reward on the context (Agrawal & Goyal, "Thompson
    Sampling for Contextual Bandits with Linear Payoffs", ICML 2013; an arm apart for each channel
    as in Li et al., "A Contextual-Bandit Approach", WWW 2010).

    With x the context, 1 before it, P = n₀ diag(1, c, …, c) + Σ x xᵀ and b = α₀ e₁ + Σ r x, the
    prior being Beta(α₀, n₀ - α₀) and c the ``restraint`` that keeps the context from mattering
    before it has shown that it does, the click-through at x has mean m = xᵀP⁻¹b and variance about
    m(1 - m) q, q = xᵀP⁻¹x: as much is known as 1/q exposures like this one would tell. The Beta of
    that mean and that many exposures stands for it. Without a context it is the conjugate
    posterior, exactly; with one it is the regression's normal posterior by its moments, kept in [0,
    1]. Whatever that approximates, the probabilities computed from it are those that are drawn
    from, so propensities are exact.
    """

    contextual: ClassVar[bool] = True

    def __init__(self, restraint: float = 4.0) -> None:
        super().__init__()
        self._restraint = restraint

    def belief(self, arm: Arm, prior: Belief, context: tuple[float, ...] = ()) -> Belief:
        """What is known of an arm in a context; numbers of it that the arm never met count too."""
        numbers = np.array((1.0, *context))
        size, known = len(numbers), len(arm.won)
        exposures = prior[0] + prior[1]
        met = np.zeros((known, known))
        met[np.tril_indices(known)] = arm.met
        met += np.tril(met, -1).T
        precision = np.diag([1.0, *[self._restraint] * (size - 1)]) * exposures
        won = np.zeros(size)
        shared = min(size, known)
        precision[:shared, :shared] += met[:shared, :shared]
        won[:shared] = arm.won[:shared]
        won[0] += prior[0]
        towards = np.linalg.solve(precision, numbers)
        mean = min(max(float(towards @ won), _LEAST), 1 - _LEAST)
        like_this = 1 / float(towards @ numbers)
        return mean * like_this, (1 - mean) * like_this
