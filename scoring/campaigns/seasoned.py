"""Seasoned trigger: A by a customer who has been doing A for long."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from schemas.control import Campaign
from schemas.triggers import SeasonedTrigger
from scoring.campaigns.base import Seen, Spoken, Watch, names, resting
from state.tagging.rfm import Rfm

_PURCHASE = frozenset({"purchase"})


class SeasonedWatch(Watch):
    """Fires at one of ``actions`` when the first of them is ``since_ms`` ago or more.

    The note's ``since_ms`` is the time of the first. Of purchases the profile knows it, of other
    actions it is the first that a campaign of this kind saw.
    """

    __slots__ = ("_asked_ms", "_by_age")

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        trigger = specs[0].trigger
        assert isinstance(trigger, SeasonedTrigger)
        self.actions = names(trigger.actions)
        self._by_age: Final = sorted(specs, key=_since_ms)
        self._asked_ms: Final = [_since_ms(spec) for spec in self._by_age]

    @classmethod
    def pattern(cls, trigger: SeasonedTrigger) -> tuple[object, ...]:
        """The actions."""
        return (trigger.actions,)

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Who asks for no more years than the customer has."""
        fact, customer = seen.fact, seen.customer
        note = customer.book.notes.get(self.key)
        if note is None:
            note = self.note(seen)
            note.since_ms = self._first_ms(seen)
        note.since_ms = min(note.since_ms, fact.ts)
        age_ms = fact.ts - note.since_ms
        old_enough = self._by_age[: bisect_right(self._asked_ms, age_ms)]
        return [
            (spec, seen.trigger())
            for spec in old_enough
            if not resting(spec, fact.ts, customer.book)
        ]

    def on_late_fact(self, seen: Seen) -> None:
        """It may be the first."""
        note = seen.customer.book.notes.get(self.key)
        if note is not None:
            note.since_ms = min(note.since_ms, seen.fact.ts)

    def _first_ms(self, seen: Seen) -> int:
        if self.actions == _PURCHASE and self.when is None:
            return seen.customer.profile().tag(Rfm).first_ms or seen.fact.ts
        return seen.fact.ts


def _since_ms(spec: Campaign) -> int:
    assert isinstance(spec.trigger, SeasonedTrigger)
    return spec.trigger.since_ms
