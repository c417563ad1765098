"""Sample-ratio mismatch: whether groups are of the sizes that the assignment should have given.

If not, customers were lost or doubled on the way, most likely not alike in all groups, and no
comparison of them can be believed (Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online
Controlled Experiments", KDD 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, lgamma, log
from typing import Final

from msgspec import Struct
from scipy.special import chdtrc

_PRIOR: Final = 100.0
"""Weight of the expected shares in the alternative, as customers: it looks at shares nearby."""


class Ratio(Struct, frozen=True):
    """How likely group sizes as far off as these are when nothing is wrong.

    ``p_value`` is of the chi-square test, for one look; ``always_valid_p`` may be looked at all the
    time: below a level ever, it is so with at most that probability.
    """

    p_value: float
    always_valid_p: float

    def mismatched(self, level: float = 0.001) -> bool:
        """Whether something is wrong, whenever and however often it is asked."""
        return self.always_valid_p < level


def ratio(counts: Sequence[int], shares: Sequence[float]) -> Ratio:
    """Compare group sizes with shares, by Pearson's chi-square and by a sequential test.

    The latter is the Bayes factor of a Dirichlet alternative around the shares (Lindon & Malek,
    "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022), a martingale from 1 under
    the shares, so 1 over it is a p-value at any time (Ville's inequality).

    Raises:
        ValueError: not two groups or more, or a share that is not positive.
    """
    if len(counts) != len(shares) or len(shares) < 2 or min(shares) <= 0:
        raise ValueError(f"{len(counts)} counts, shares {list(shares)}: give two or more, positive")
    whole, total = sum(shares), sum(counts)
    if not total:
        return Ratio(1.0, 1.0)
    parts = [share / whole for share in shares]
    distance = sum(
        (count - total * part) ** 2 / (total * part)
        for count, part in zip(counts, parts, strict=True)
    )
    evidence = lgamma(_PRIOR) - lgamma(_PRIOR + total)
    for count, part in zip(counts, parts, strict=True):
        prior = _PRIOR * part
        evidence += lgamma(prior + count) - lgamma(prior) - count * log(part)
    return Ratio(float(chdtrc(len(parts) - 1, distance)), exp(min(0.0, -evidence)))
