"""What every policy is: probabilities over arms, and a draw from them that can be repeated."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import Final

from xxhash import xxh3_64_intdigest

Arms = tuple[tuple[float, float], ...]
"""Alpha and beta of each arm's posterior."""

_KNOWN_LIMIT: Final = 8_192
_SEED: Final = 0x61726D  # apart from every other draw by the same id
_FLOOR: Final = 1e-12


class ArmPolicy:
    """Turns what is known of the arms into the probability of each, and draws one.

    The draw is made from the very probabilities that are logged, so a propensity is exact: it is
    no estimate of what some random procedure would have done. It depends on the decision's id and
    the posteriors and on nothing else, so a replay draws the same arm.
    """

    def __init__(self) -> None:
        # Posteriors change a few times a second, decisions are made thousands of times.
        self._known = lru_cache(maxsize=_KNOWN_LIMIT)(self._settled)

    def probabilities(self, arms: Arms) -> tuple[float, ...]:
        """The probability of each arm; positive, and together 1."""
        return self._known(arms)[0]

    def choose(self, decision_id: str, arms: Arms) -> tuple[int, float]:
        """Draw an arm: its place in ``arms`` and its propensity."""
        probabilities, edges = self._known(arms)
        share = (xxh3_64_intdigest(decision_id.encode(), _SEED) >> 11) * 2.0**-53
        place = bisect_right(edges, share)
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
