"""Event trigger: speak at an event, or at the n-th of its kind within a window."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from schemas.control import Campaign
from schemas.triggers import EventTrigger
from scoring.campaigns.base import Seen, Spoken, Watch, among, names, resting
from state.book import Armed
from state.customer import Customer
from state.fact import Fact

if TYPE_CHECKING:
    from scoring.world import World


class EventWatch(Watch):
    """Fires at one of ``actions``, when there were ``at_least`` of them within ``within_ms``."""

    __slots__ = ("_levels", "_same", "_unless")

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        self._unless: Final[dict[str, frozenset[str] | None]] = {}
        levels: defaultdict[int, list[tuple[int, Campaign]]] = defaultdict(list)
        for spec in specs:
            trigger = spec.trigger
            assert isinstance(trigger, EventTrigger)
            levels[trigger.within_ms].append((trigger.at_least, spec))
            if trigger.unless:
                self._unless[spec.id] = names(trigger.unless)
            self._same = trigger.same
            self.actions = names(trigger.actions)
        self._levels: Final = [
            (
                within_ms,
                max(at_least for at_least, _ in level),
                sorted(level, key=lambda each: (each[0], each[1].id)),
            )
            for within_ms, level in sorted(levels.items())
        ]

    @classmethod
    def pattern(cls, trigger: EventTrigger) -> tuple[object, ...]:
        """Actions, and what of them must be the same; one count serves every threshold."""
        return trigger.actions, trigger.same

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Who has enough of the actions, this fact among them, in the window.

        A campaign that has just spoken does not look again until its cooldown is over.
        """
        fact, book = seen.fact, seen.customer.book
        spoke = book.last_sent
        item = category = None
        countable = True
        if self._same == "item":
            item = fact.item
            countable = item is not None
        elif self._same == "category":
            category = fact.category
            countable = category is not None
        spoken: list[Spoken] = []
        for within_ms, enough, level in self._levels:
            count = 0
            for at_least, spec in level:
                if spoke and resting(spec, fact.ts, book):
                    continue
                if at_least > 1:
                    if not countable:
                        break
                    count = count or seen.count(self.actions, within_ms, item, category, enough)
                    if count < at_least:
                        break
                spoken.append((spec, seen.trigger()))
        return spoken

    def takes_back(
        self, spec: Campaign, fact: Fact, pending: Armed, customer: Customer, world: World
    ) -> bool:
        """One of ``unless`` afterwards takes the reason away."""
        return (
            spec.id in self._unless
            and among(fact.action, self._unless[spec.id])
            and fact.ts >= pending.event_ms
        )
