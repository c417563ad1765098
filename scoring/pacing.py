"""What money costs on a day whose plan the night has made: the dual prices of its programme.

Where money is short its last unit brings ``price``, more than itself. A message that brings less
for what it costs takes that money from a better one, perhaps a later one. So while a plan holds, a
message is worth

    click × conversion × margin - cost × max(1, price of money + price of its channel)

and where money is short, one of a campaign that has a budget, of which that is below 0, is not
sent. Without a plan, or when it has grown old, money is worth itself: the factor is 1 and nobody is
refused.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import Final

from schemas.control import Pacing
from schemas.errors import RefusedControl
from schemas.topics import DAY_MS

HOLDS_MS: Final = 2 * DAY_MS
"""From the first moment of its day: until the night after has surely spoken, and no longer."""


class Prices:
    """A plan's prices, made ready to be asked; immutable."""

    __slots__ = ("_factors", "_from_ms", "_money", "_until_ms", "short")

    def __init__(self, plan: Pacing) -> None:
        """Take them from a plan.

        Raises:
            RefusedControl: its day is none, or a price is no number.
        """
        try:
            day = datetime.strptime(plan.day, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            raise RefusedControl(
                "refused_control", f"pacing: day {plan.day!r}; write it as 2026-11-26"
            ) from None
        if not all(map(isfinite, (plan.price, *plan.channel_prices.values()))):
            raise RefusedControl("refused_control", "pacing: a price is no finite number")
        self._money: Final = max(1.0, plan.price)
        self._factors: Final = {
            channel: max(1.0, plan.price + price) for channel, price in plan.channel_prices.items()
        }
        self.short: Final = max(self._money, *self._factors.values(), 1.0) > 1.0
        self._from_ms: Final = round(day.timestamp() * 1_000)
        self._until_ms: Final = self._from_ms + HOLDS_MS

    def hold(self, at_ms: int) -> bool:
        """Whether they are those of this moment of event time."""
        return self._from_ms <= at_ms < self._until_ms

    def factor(self, channel: str) -> float:
        """What a unit of money is worth that is spent through a channel; at least 1."""
        return self._factors.get(channel, self._money)
