"""From view to cart to payment, by segment: how many go on, and how many drop off at each step."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from schemas.errors import UserMistake


class Funnel(Struct, frozen=True):
    """Items viewed, then put into the cart, then paid for; each a part of the one before."""

    segment: str
    customers: int
    viewed: int
    carted: int
    paid: int

    @property
    def cart_drop(self) -> float:
        """The share of what was viewed that never came into the cart."""
        return 1 - self.carted / self.viewed if self.viewed else 0.0

    @property
    def pay_drop(self) -> float:
        """The share of what was in the cart that was never paid for."""
        return 1 - self.paid / self.carted if self.carted else 0.0

    @property
    def conversion(self) -> float:
        """The share of what was viewed that was paid for."""
        return self.paid / self.viewed if self.viewed else 0.0


def funnels(customers: Any, segments: Any) -> list[Funnel]:
    """All customers' funnel, then each segment's by name.

    ``customers`` has ``seen``, ``kept`` and ``paid`` by customer (`jobs.analytics.history`),
    ``segments`` the name of each, as far as they have one.

    Raises:
        UserMistake: nobody viewed anything.
    """
    if not len(customers) or not customers["seen"].sum():
        raise UserMistake("nobody viewed anything: there is no funnel")
    steps = customers[["seen", "kept", "paid"]]
    named = segments.reindex(customers.index).fillna("no-purchase")
    result = [_funnel("everybody", steps)]
    result += [_funnel(str(name), part) for name, part in steps.groupby(named, sort=True)]
    return result


def _funnel(name: str, part: Any) -> Funnel:
    seen, kept, paid = (int(each) for each in part.sum())
    return Funnel(name, len(part), seen, kept, paid)
