"""The policies that choose an arm. A new one is one file and one line here; the suite finds it."""

from __future__ import annotations

from typing import Final

from scoring.policies.base import ArmPolicy
from scoring.policies.greedy import BayesUcb, EpsilonGreedy
from scoring.policies.linear import LinearThompson
from scoring.policies.thompson import BetaThompson

POLICIES: Final[dict[str, type[ArmPolicy]]] = {
    "beta-thompson": BetaThompson,
    "linear-thompson": LinearThompson,
    "epsilon-greedy": EpsilonGreedy,
    "bayes-ucb": BayesUcb,
}
"""Name → policy."""
