"""Absence trigger: A, and then no B within a time. Cart abandonment and win-back are of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from schemas.control import Campaign
from schemas.triggers import AbsenceTrigger
from scoring.campaigns.base import Seen, Spoken, among, names
from scoring.campaigns.waits import Waits
from state.book import Armed
from state.customer import Customer
from state.fact import Fact

if TYPE_CHECKING:
    from scoring.world import World


class AbsenceWatch(Waits):
    """Fires ``within_ms`` after the last of ``after`` unless one of ``without`` came in between.

    One of ``without`` that comes late still ends the wait: better silent than wrong.
    "After" and "between" are by event time, whatever order the events arrived in.
    """

    __slots__ = ()

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        trigger = specs[0].trigger
        assert isinstance(trigger, AbsenceTrigger)
        self.actions = names(trigger.after)
        self.ended_by = names(trigger.without)

    @classmethod
    def pattern(cls, trigger: AbsenceTrigger) -> tuple[object, ...]:
        """What begins the wait, and what ends it."""
        return trigger.after, trigger.without

    @classmethod
    def patience_ms(cls, spec: Campaign) -> int:
        """The campaign's ``within_ms``."""
        assert isinstance(spec.trigger, AbsenceTrigger)
        return spec.trigger.within_ms

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Begin the wait, or begin it anew; nobody speaks at once."""
        fact, customer = seen.fact, seen.customer
        book, ts = customer.book, fact.ts
        begun = book.armed.get(self.key)
        if (begun is None or ts >= begun.event_ms) and not (
            ts < book.newest_ms and self._already_ended(fact, customer)
        ):
            self.arm(seen)
        return ()

    def takes_back(
        self, spec: Campaign, fact: Fact, pending: Armed, customer: Customer, world: World
    ) -> bool:
        """What ends the wait also takes the reason from what waits for the morning."""
        return among(fact.action, self.ended_by) and fact.ts >= pending.event_ms

    def _already_ended(self, fact: Fact, customer: Customer) -> bool:
        """Whether an end that arrived earlier happened later than this out-of-order beginning."""
        newest_ms = customer.book.newest_ms
        return customer.count_recent(self.ended_by, fact.ts, newest_ms, enough=1) > 0
