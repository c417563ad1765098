"""An arm of a bandit: what its exposures were worth, as sums that every policy can read.

An exposure whose worth is known is a `Credit`. The arm keeps the sums of a linear model over the
credits' contexts, the number 1 before each: how often each pair of context numbers met (``met``)
and how much reward came with each number (``won``). Without a context that is the number of
exposures and of clicks, which is all that a Beta posterior needs; with one it is what Bayesian
linear regression needs (`scoring.policies`).

The sums forget: a credit weighs half as much for each half-life of event time that passed since.
Forward decay (Cormode et al., "Forward Decay", ICDE 2009): the sums are as of the newest credit,
an older one is added at the weight it has by then. So the order of arrival does not matter, and
`reverse` takes back exactly what `apply` added, to the precision of the numbers. An exposure that
waits for its worth is no credit, or one of 0 that is reversed when a click comes; a refund reverses
the credit of 1 and applies one of 0 at the same time of exposure.

Layout: changes, newest, met and won as one MessagePack array in an envelope ``BKA``.
"""

from __future__ import annotations

from math import exp2, isfinite
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from state.envelope import sealed, unsealed
from state.profile import CorruptState

VERSION: Final = 1
MOST_NUMBERS: Final = 32
"""How long a context can be, so that an arm stays small."""

_MAGIC: Final = b"BKA"
_encode: Final = msgspec.msgpack.Encoder().encode


class Credit(NamedTuple):
    """What an exposure was worth, from 0 to 1.

    ``ts`` is the event time of the exposure, the same for whatever is credited to it and reversed
    later; ``context`` is what was known when the arm was chosen.
    """

    ts: int
    reward: float
    context: tuple[float, ...] = ()


class Arm(Struct, array_like=True):
    """Sums over an arm's credits, as of ``newest_ms``; new without any.

    ``met`` is the lower triangle, row by row, of the decayed sum of x xᵀ, ``won`` the decayed sum
    of reward × x, for x the context with 1 before it. ``changes`` counts credits and reversals and
    so numbers the posteriors that follow from the arm.
    """

    changes: int = 0
    newest_ms: int = 0
    met: list[float] = msgspec.field(default_factory=lambda: [0.0])
    won: list[float] = msgspec.field(default_factory=lambda: [0.0])

    @property
    def exposures(self) -> float:
        """Decayed number of exposures with a known worth."""
        return max(0.0, self.met[0])

    @property
    def rewards(self) -> float:
        """Decayed sum of what they were worth."""
        return min(max(0.0, self.won[0]), self.exposures)

    def apply(self, credit: Credit, half_life_ms: int = 0) -> None:
        """Add a credit; a half-life of 0 forgets nothing.

        Raises:
            ValueError: a reward outside [0, 1], or a context that is too long or no numbers.
        """
        self._add(credit, 1.0, half_life_ms)

    def reverse(self, credit: Credit, half_life_ms: int = 0) -> None:
        """Take back a credit that was applied before.

        Raises:
            ValueError: as of `apply`.
        """
        self._add(credit, -1.0, half_life_ms)

    def age(self, at_ms: int, half_life_ms: int) -> None:
        """Let the sums decay up to a time; an earlier one changes nothing."""
        if at_ms <= self.newest_ms:
            return
        if half_life_ms and self.newest_ms:
            left = exp2((self.newest_ms - at_ms) / half_life_ms)
            self.met = [each * left for each in self.met]
            self.won = [each * left for each in self.won]
        self.newest_ms = at_ms

    def _add(self, credit: Credit, weight: float, half_life_ms: int) -> None:
        context = credit.context
        if not 0.0 <= credit.reward <= 1.0:
            raise ValueError(f"a credit of {credit.reward}; what an exposure is worth is 0 to 1")
        if len(context) > MOST_NUMBERS or not all(map(isfinite, context)):
            raise ValueError(
                f"a context of {len(context)} numbers, {context[:4]} …; "
                f"give at most {MOST_NUMBERS}, all finite"
            )
        self.age(credit.ts, half_life_ms)
        if half_life_ms:
            weight *= exp2((credit.ts - self.newest_ms) / half_life_ms)
        numbers = (1.0, *context)
        self._widen(len(numbers))
        met, won = self.met, self.won
        place = 0
        for row, number in enumerate(numbers):
            weighed = weight * number
            won[row] += weighed * credit.reward
            for other in numbers[: row + 1]:
                met[place] += weighed * other
                place += 1
        self.changes += 1

    def _widen(self, size: int) -> None:
        """Make room for contexts with more numbers: those before had zeros there."""
        missing = size - len(self.won)
        if missing > 0:
            self.won += [0.0] * missing
            self.met += [0.0] * (size * (size + 1) // 2 - len(self.met))

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        return sealed(_MAGIC, VERSION, _encode(self))

    @classmethod
    def decode(cls, data: bytes) -> Arm:
        """Read an arm.

        Raises:
            CorruptState: not an arm of this version, or numbers that do not add up.
        """
        try:
            arm = _decode(unsealed(_MAGIC, VERSION, data))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CorruptState(f"arm's state does not decode: {error}") from error
        size = len(arm.won)
        if not size or len(arm.met) != size * (size + 1) // 2:
            raise CorruptState(f"arm's state has {len(arm.met)} and {size} sums")
        return arm


_decode: Final = msgspec.msgpack.Decoder(Arm).decode
