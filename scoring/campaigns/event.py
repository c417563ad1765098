"""Event trigger: speak at an event, or at the n-th of its kind within a window."""

from __future__ import annotations

from typing import Final

from schemas.control import Campaign, EventTrigger
from scoring.campaigns.base import CampaignKind, Trigger, names
from state.book import Armed
from state.customer import Customer
from state.fact import Fact


class EventCampaign(CampaignKind):
    """Fires at one of ``actions``, when there were ``at_least`` of them within ``within_ms``."""

    __slots__ = ("_actions", "_at_least", "_same", "_unless", "_within_ms")

    def __init__(self, spec: Campaign) -> None:
        super().__init__(spec)
        trigger = spec.trigger
        assert isinstance(trigger, EventTrigger)
        self._actions: Final = names(trigger.actions)
        self._at_least: Final = trigger.at_least
        self._within_ms: Final = trigger.within_ms
        self._same: Final = trigger.same
        self._unless: Final = names(trigger.unless)

    def listens_to(self, action: str) -> bool:
        """Only to the actions it counts."""
        return self._actions is None or action in self._actions

    def on_fact(
        self, fact: Fact, event_id: str, ingested_ms: int, customer: Customer
    ) -> Trigger | None:
        """A trigger when enough of the actions, this fact among them, lie in the window.

        A campaign that has just spoken does not look again until its cooldown is over.
        """
        last_ms = customer.book.last_sent.get(self.spec.id)
        if last_ms is not None and fact.ts < last_ms + self.spec.cooldown_ms:
            return None
        if self._at_least > 1 and not self._enough(fact, customer):
            return None
        return Trigger(
            event_id, fact.ts, ingested_ms, fact.item, fact.category, fact.brand, fact.price
        )

    def takes_back(self, spec: Campaign, fact: Fact, pending: Armed) -> bool:
        """One of ``unless`` afterwards takes the reason away."""
        unless = self._unless
        return (unless is None or fact.action in unless) and fact.ts >= pending.event_ms

    def _enough(self, fact: Fact, customer: Customer) -> bool:
        item = category = None
        if self._same == "item":
            item = fact.item
            if item is None:
                return False
        elif self._same == "category":
            category = fact.category
            if category is None:
                return False
        seen = customer.count_recent(
            self._actions, fact.ts - self._within_ms, fact.ts, item, category
        )
        return seen >= self._at_least
