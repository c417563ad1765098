"""Silence trigger: no A for a time, counted from the last A or from when we first knew them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from schemas.control import Campaign
from schemas.triggers import SilenceTrigger
from scoring.campaigns.base import Seen, Spoken, among, names
from scoring.campaigns.waits import Waits
from state.book import Armed
from state.customer import Customer
from state.fact import Fact

if TYPE_CHECKING:
    from scoring.world import World


class SilenceWatch(Waits):
    """Fires ``for_ms`` after the last of ``actions``.

    The note says that the wait of a customer who never did any of them has begun: it begins once.
    """

    __slots__ = ("_missed",)

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        trigger = specs[0].trigger
        assert isinstance(trigger, SilenceTrigger)
        self._missed: Final = names(trigger.actions)

    @classmethod
    def pattern(cls, trigger: SilenceTrigger) -> tuple[object, ...]:
        """What is missed."""
        return (trigger.actions,)

    @classmethod
    def patience_ms(cls, spec: Campaign) -> int:
        """The campaign's ``for_ms``."""
        assert isinstance(spec.trigger, SilenceTrigger)
        return spec.trigger.for_ms

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Begin the wait; nobody speaks at once."""
        fact, book = seen.fact, seen.customer.book
        first = self.key not in book.notes
        if first:
            self.note(seen)
        elif not among(fact.action, self._missed):
            return ()
        begun_ms = self.begun_ms(book)
        if begun_ms is None or fact.ts >= begun_ms:
            self.arm(seen)
        return ()

    def on_late_fact(self, seen: Seen) -> None:
        """A late one of ``actions`` still begins the wait anew."""
        fact, book = seen.fact, seen.customer.book
        armed = book.armed.get(self.key)
        if armed is not None and among(fact.action, self._missed) and fact.ts > armed.event_ms:
            due_ms = armed.due_ms - armed.event_ms + fact.ts
            book.armed[self.key] = replace(armed, due_ms=due_ms, event_ms=fact.ts)

    def takes_back(
        self, spec: Campaign, fact: Fact, pending: Armed, customer: Customer, world: World
    ) -> bool:
        """The silence is broken."""
        return among(fact.action, self._missed) and fact.ts >= pending.event_ms
