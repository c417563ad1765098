"""Stock trigger: an item that they turn to will soon be gone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from schemas.control import Campaign
from schemas.triggers import StockTrigger
from scoring.campaigns.base import Seen, Spoken, Watch, names, resting
from state.book import Armed
from state.customer import Customer
from state.fact import Fact

if TYPE_CHECKING:
    from scoring.world import World


class StockWatch(Watch):
    """Fires at one of ``actions`` on an item of which few are left: some, but few.

    Few is by pieces, or by the days that they last (`scoring.world.World.days_left`).
    """

    __slots__ = ("_at_most", "_cover_days")

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        self.needs = "item"
        trigger = specs[0].trigger
        assert isinstance(trigger, StockTrigger)
        self.actions = names(trigger.actions)
        self._at_most: Final = trigger.at_most
        self._cover_days: Final = trigger.cover_days

    @classmethod
    def pattern(cls, trigger: StockTrigger) -> tuple[object, ...]:
        """Actions, and what is few."""
        return trigger.actions, trigger.at_most, trigger.cover_days

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Whoever is not resting, about an item that is nearly gone."""
        fact, book = seen.fact, seen.customer.book
        assert fact.item is not None
        if not self._nearly_gone(fact.item, seen.world):
            return ()
        return [(s, seen.trigger()) for s in self.specs if not resting(s, fact.ts, book)]

    def takes_back(
        self, spec: Campaign, fact: Fact, pending: Armed, customer: Customer, world: World
    ) -> bool:
        """They have bought it."""
        return (
            fact.action == "purchase"
            and fact.item in (pending.item, None)
            and fact.ts >= pending.event_ms
        )

    def still(
        self, spec: Campaign, pending: Armed, now_ms: int, customer: Customer, world: World
    ) -> Armed | None:
        """Nothing is left once the item is gone, or there is plenty again."""
        return pending if self._nearly_gone(pending.item or "", world) else None

    def _nearly_gone(self, item: str, world: World) -> bool:
        offered = world.catalogue.get(item)
        if offered is None or not offered.stock:
            return False
        if self._at_most is not None and offered.stock <= self._at_most:
            return True
        if not self._cover_days:
            return False
        left = world.days_left(item)
        return left is not None and left <= self._cover_days
