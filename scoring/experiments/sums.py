"""What a group did, as sums that one customer after the other adds to."""

from __future__ import annotations

from msgspec import Struct


class Sums(Struct, array_like=True):
    """Sums over the customers of a group, of a metric ``y`` and what it was before, ``x``.

    The unit is what was assigned, the customer: what one did is one ``y``, however many messages
    they got. When it changes, by another order or a refund, `remove` what was added and `add` anew.
    ``x`` is the same customer's figure from before the experiment, 0 where there is none.
    """

    n: int = 0
    y: float = 0.0
    yy: float = 0.0
    x: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    def add(self, y: float, x: float = 0.0) -> None:
        """Take a customer in."""
        self._add(1, y, x)

    def remove(self, y: float, x: float = 0.0) -> None:
        """Take out a customer who was added with these figures."""
        self._add(-1, y, x)

    def merged(self, other: Sums) -> Sums:
        """The sums over both groups."""
        return Sums(
            self.n + other.n,
            self.y + other.y,
            self.yy + other.yy,
            self.x + other.x,
            self.xx + other.xx,
            self.xy + other.xy,
        )

    def _add(self, sign: int, y: float, x: float) -> None:
        self.n += sign
        self.y += sign * y
        self.yy += sign * y * y
        self.x += sign * x
        self.xx += sign * x * x
        self.xy += sign * x * y
