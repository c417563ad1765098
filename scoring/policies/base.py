"""What every policy is: probabilities over arms, and a draw from them that can be repeated."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import ClassVar, Final

from xxhash import xxh3_64_intdigest

from schemas.control import Posterior
from state.arm import Arm

Belief = tuple[float, float]
"""Alpha and beta of the Beta that says what is known of an arm's click-through."""

Arms = tuple[Belief, ...]

_KNOWN_LIMIT: Final = 8_192
_SEED: Final = 0x61726D  # apart from every other draw by the same id
_FLOOR: Final = 1e-12


class ArmPolicy:
    """Turns what is known of the arms into the probability of each, and draws one.

    The draw is made from the very probabilities that are logged, so a propensity is exact: it is
    no estimate of what some random procedure would have done. It depends on the decision's id and
    the posteriors and on nothing else, so a replay draws the same arm. An arm that sleeps (its
    channel is not allowed for the customer) is left out of ``arms``; its sums are untouched.
    """

    contextual: ClassVar[bool] = False
    """Whether it has a use for the context of a decision."""

    def __init__(self) -> None:
        # Posteriors change a few times a second, decisions are made thousands of times.
        self._known = lru_cache(maxsize=_KNOWN_LIMIT)(self._settled)

    def belief(self, arm: Arm, prior: Belief, context: tuple[float, ...] = ()) -> Belief:
        """What is known of an arm, for a decision in a context.

        Without a use for the context: the prior's alpha and beta, with the arm's clicks and
        exposures without one added.
        """
        clicks = arm.rewards
        return prior[0] + clicks, prior[1] + arm.exposures - clicks

    def probabilities(self, arms: Arms) -> tuple[float, ...]:
        """The probability of each arm; positive, and together 1."""
        return self._known(arms)[0]

    def choose(self, decision_id: str, arms: Arms) -> tuple[int, float]:
        """Draw an arm: its place in ``arms`` and its propensity."""
        probabilities, edges = self._known(arms)
        place = bisect_right(edges, _uniform(decision_id))
        return place, probabilities[place]

    def _weigh(self, arms: Arms) -> list[float]:
        """What a policy is: a weight for each of two arms or more, none negative, not all zero."""
        raise NotImplementedError

    def _settled(self, arms: Arms) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Probabilities, and the upper edges of all arms but the last in [0, 1).

        The floor keeps a hopeless arm's propensity a positive number where it underflows; it is
        far too small to explore by.
        """
        if not arms:
            raise ValueError("no arm to choose from")
        weights = [1.0] if len(arms) == 1 else self._weigh(arms)
        total = sum(weights)
        floored = [max(weight / total, _FLOOR) for weight in weights]
        total = sum(floored)
        probabilities = tuple(weight / total for weight in floored)
        return probabilities, tuple(accumulate(probabilities[:-1]))


def arm_of(posterior: Posterior | None, prior: Belief) -> Arm:
    """The arm that a posterior was published of; new where there was none."""
    if posterior is None:
        return Arm()
    if posterior.met:
        met, won = list(posterior.met), list(posterior.won)
    else:  # stated by hand, without the sums
        clicks = posterior.alpha - prior[0]
        met, won = [posterior.beta - prior[1] + clicks], [clicks]
    return Arm(posterior.version, posterior.newest_ms, met, won)


def draw(decision_id: str, shares: Sequence[float]) -> tuple[int, float] | None:
    """Draw an arm of a mix: its place and its propensity, which is its part of all the shares.

    Give 0 as the share of an arm that sleeps; what it had goes to the others in proportion. None
    when no share is left, as when a kill switch has taken all arms but those that sleep.
    """
    edges = list(accumulate(shares))  # a share of 0 moves no edge, so nothing falls before it
    total = edges[-1] if edges else 0.0
    if not total > 0:
        return None
    last = edges.index(total)
    place = bisect_right(edges, _uniform(decision_id) * total, 0, last)
    return place, share_of(shares, place)


def share_of(shares: Sequence[float], place: int) -> float:
    """The propensity with which `draw` draws this place; 0 for an arm that sleeps."""
    share = shares[place]
    return share / sum(shares) if share > 0 else 0.0


def _uniform(decision_id: str) -> float:
    return (xxh3_64_intdigest(decision_id.encode(), _SEED) >> 11) * 2.0**-53
