"""Overdue trigger: so long before a payment would be overdue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.control import Campaign
from schemas.event import Traits
from schemas.triggers import OverdueTrigger
from scoring.campaigns.base import among, names
from scoring.campaigns.dates import DateWatch
from state.book import Armed
from state.customer import Customer
from state.fact import Fact

if TYPE_CHECKING:
    from scoring.world import World


class OverdueWatch(DateWatch):
    """Fires ``before_ms`` before ``payment_due_ms``, unless one of ``settled_by`` came."""

    __slots__ = ()

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        trigger = specs[0].trigger
        assert isinstance(trigger, OverdueTrigger)
        self.ended_by = names(trigger.settled_by)

    @classmethod
    def pattern(cls, trigger: OverdueTrigger) -> tuple[object, ...]:
        """What settles the payment; campaigns differ in how long before it they speak."""
        return (trigger.settled_by,)

    @classmethod
    def lead_ms(cls, spec: Campaign) -> int:
        """The campaign's ``before_ms``."""
        assert isinstance(spec.trigger, OverdueTrigger)
        return spec.trigger.before_ms

    @classmethod
    def date_ms(cls, traits: Traits) -> int | None:
        """When the payment is due."""
        return traits.payment_due_ms

    def takes_back(
        self, spec: Campaign, fact: Fact, pending: Armed, customer: Customer, world: World
    ) -> bool:
        """The payment was made, or is due at another time."""
        if among(fact.action, self.ended_by) and fact.ts >= pending.event_ms:
            return True
        return super().takes_back(spec, fact, pending, customer, world)
