"""A date that is known ahead: speak so long before it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from schemas.control import Campaign
from schemas.event import Traits
from scoring.campaigns.base import Seen, Spoken, Watch, trigger_of
from state.book import Armed
from state.customer import Customer
from state.fact import Fact

if TYPE_CHECKING:
    from scoring.world import World


class DateWatch(Watch):
    """Fires ``before_ms`` before a date that the customer's traits name.

    The note's ``last_ms`` is the date as it was last told. A date that is told anew ends what was
    planned for the old one; a date that is nearer than a campaign asks for lets it speak at once.
    """

    HEARS_TAGS = True  # the night tells of dates that the stream has not heard of

    __slots__ = ("_leads",)

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        self.needs = "traits"
        self._leads: Final = sorted({self.lead_ms(spec) for spec in specs}, reverse=True)

    @classmethod
    @abstractmethod
    def lead_ms(cls, spec: Campaign) -> int:
        """How long before the date a campaign speaks."""

    @classmethod
    @abstractmethod
    def date_ms(cls, traits: Traits) -> int | None:
        """The date in traits, None when they do not say."""

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Plan for a date that is new; speak at once where it is near already."""
        fact, book = seen.fact, seen.customer.book
        assert fact.traits is not None
        date_ms = self.date_ms(fact.traits)
        if date_ms is None:
            return ()
        note = self.note(seen)
        if date_ms == note.last_ms or fact.ts < note.since_ms:
            return ()
        note.last_ms, note.since_ms = date_ms, fact.ts
        book.armed.pop(self.key, None)
        if date_ms <= fact.ts:
            return ()
        for lead_ms in self._leads:
            if date_ms - lead_ms > fact.ts:
                book.armed[self.key] = seen.armed(date_ms - lead_ms, until_ms=date_ms)
                break
        passed = [lead_ms for lead_ms in self._leads if date_ms - lead_ms <= fact.ts]
        if not passed:
            return ()
        return [
            (spec, seen.trigger(until_ms=date_ms))
            for spec in self.specs
            if self.lead_ms(spec) == passed[-1]
        ]

    def plans(self, armed: Armed) -> Iterable[tuple[Campaign, int]]:
        """Each campaign with its own time before the date, those whose time has not come yet."""
        planned = [(spec, armed.until_ms - self.lead_ms(spec)) for spec in self.specs]
        return [(spec, due_ms) for spec, due_ms in planned if due_ms >= armed.due_ms]

    def on_due(self, armed: Armed, customer: Customer, world: World) -> Iterable[Spoken]:
        """Let those speak whose time before the date this is; wait on for the others."""
        lead_ms = armed.until_ms - armed.due_ms
        for nearer_ms in self._leads:
            if nearer_ms < lead_ms:
                due_ms = armed.until_ms - nearer_ms
                customer.book.armed[self.key] = replace(armed, due_ms=due_ms)
                break
        trigger = trigger_of(armed, armed.due_ms)
        return [(spec, trigger) for spec in self.specs if self.lead_ms(spec) == lead_ms]

    def takes_back(
        self, spec: Campaign, fact: Fact, pending: Armed, customer: Customer, world: World
    ) -> bool:
        """The date is another now."""
        if fact.traits is None or fact.ts < pending.event_ms:
            return False
        date_ms = self.date_ms(fact.traits)
        return date_ms is not None and date_ms != pending.until_ms
