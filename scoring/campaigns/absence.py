"""Absence trigger: A, and then no B within a time. Cart abandonment and win-back are of it."""

from __future__ import annotations

from typing import Final

from schemas.control import AbsenceTrigger, Campaign
from scoring.campaigns.base import CampaignKind, Trigger, names
from state.book import Armed, Book
from state.customer import Customer
from state.fact import Fact


class AbsenceCampaign(CampaignKind):
    """Fires ``within_ms`` after the last of ``after`` unless one of ``without`` came in between.

    "After" and "between" are by event time, whatever order the events arrived in.
    """

    __slots__ = ("_after", "_within_ms", "_without")

    def __init__(self, spec: Campaign) -> None:
        super().__init__(spec)
        trigger = spec.trigger
        assert isinstance(trigger, AbsenceTrigger)
        self._after: Final = names(trigger.after)
        self._without: Final = names(trigger.without)
        self._within_ms: Final = trigger.within_ms

    def listens_to(self, action: str) -> bool:
        """To what begins a wait and to what ends one."""
        return self._begins(action) or self._ends(action)

    def on_fact(
        self, fact: Fact, event_id: str, ingested_ms: int, customer: Customer
    ) -> Trigger | None:
        """End the wait, begin it, or begin it anew; never speaks at once."""
        name, book = self.spec.id, customer.book
        armed = book.armed.get(name)
        if self._ends(fact.action) and armed is not None and fact.ts >= armed.event_ms:
            del book.armed[name]
            armed = None
        if (
            self._begins(fact.action)
            and (armed is None or fact.ts >= armed.event_ms)
            and not self._already_ended(fact, customer)
        ):
            book.armed[name] = Armed(
                fact.ts + self._within_ms,
                event_id,
                fact.ts,
                ingested_ms,
                fact.item,
                fact.category,
            )
        return None

    def on_late_fact(self, fact: Fact, book: Book) -> None:
        """A late end still ends the wait: better silent than wrong."""
        armed = book.armed.get(self.spec.id)
        if armed is not None and self._ends(fact.action) and fact.ts >= armed.event_ms:
            del book.armed[self.spec.id]

    def on_due(self, armed: Armed) -> Trigger | None:
        """Speak, about what the customer left behind."""
        return Trigger(armed.event_id, armed.due_ms, armed.ingested_ms, armed.item, armed.category)

    def takes_back(self, spec: Campaign, fact: Fact, pending: Armed) -> bool:
        """What ends the wait also takes the reason from what waits for the morning."""
        return self._ends(fact.action) and fact.ts >= pending.event_ms

    def _begins(self, action: str) -> bool:
        return self._after is None or action in self._after

    def _ends(self, action: str) -> bool:
        return self._without is None or action in self._without

    def _already_ended(self, fact: Fact, customer: Customer) -> bool:
        """Whether an end that arrived earlier happened later than this out-of-order beginning."""
        newest_ms = customer.book.newest_ms
        if fact.ts >= newest_ms:
            return False
        return customer.count_recent(self._without, fact.ts, newest_ms) > 0
