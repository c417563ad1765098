"""Slot trigger: items to recommend, from lists that are made overnight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from schemas.control import Campaign
from schemas.triggers import SlotTrigger
from scoring.campaigns.base import Seen, Spoken, Watch, among, names, resting
from state.book import Armed
from state.customer import Customer
from state.fact import Fact
from state.tagging.recent import Recent

if TYPE_CHECKING:
    from scoring.world import World

BOUGHT_LIMIT: Final = 64
"""Items bought last that are remembered, so that they are not recommended again."""


class SlotWatch(Watch):
    """Fires at one of ``actions`` with the first items of the list that may be shown.

    The note's ``texts`` are the items bought, oldest first.
    """

    FILTERED = False

    __slots__ = ("_begins", "_bought_by", "_by", "_list")

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        trigger = specs[0].trigger
        assert isinstance(trigger, SlotTrigger)
        self._begins: Final = names(trigger.actions)
        self._bought_by: Final = names(trigger.bought_by)
        self._list: Final = trigger.list
        self._by: Final = trigger.by
        if self._begins is not None and self._bought_by is not None:
            self.actions = self._begins | self._bought_by

    @classmethod
    def pattern(cls, trigger: SlotTrigger) -> tuple[object, ...]:
        """The list and its use; slots differ in size."""
        return trigger.actions, trigger.list, trigger.by, trigger.bought_by

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Whoever is not resting, with what may be shown."""
        fact, book = seen.fact, seen.customer.book
        if among(fact.action, self._bought_by) and fact.item is not None:
            self._remember(seen)
        if not among(fact.action, self._begins) or not self.fits(fact):
            return ()
        ready = [spec for spec in self.specs if not resting(spec, fact.ts, book)]
        if not ready:
            return ()
        items = self._showable(self._listed(fact, seen.world), fact.item, seen.customer, seen.world)
        if not items:
            return ()
        spoken: list[Spoken] = []
        for spec in ready:
            assert isinstance(spec.trigger, SlotTrigger)
            shown = items[: spec.trigger.size]
            trigger = replace(
                seen.trigger(items=shown), item=shown[0], category=None, brand=None, price=None
            )
            spoken.append((spec, trigger))
        return spoken

    def on_late_fact(self, seen: Seen) -> None:
        """A late purchase is a purchase."""
        fact = seen.fact
        note = seen.customer.book.notes.get(self.key)
        if note is not None and fact.item and among(fact.action, self._bought_by):
            _append(note.texts, fact.item)

    def still(
        self, spec: Campaign, pending: Armed, now_ms: int, customer: Customer, world: World
    ) -> Armed | None:
        """What is left of the items that were chosen."""
        left = self._showable(pending.items, None, customer, world)
        return replace(pending, items=left, item=left[0]) if left else None

    def _listed(self, fact: Fact, world: World) -> tuple[str, ...]:
        of = fact.item if self._by == "item" else fact.category if self._by == "category" else None
        found = world.lists.get((self._list, of)) if of else None
        found = found or world.lists.get((self._list, ""))
        return () if found is None else found.items

    def _showable(
        self, items: Iterable[str], about: str | None, customer: Customer, world: World
    ) -> tuple[str, ...]:
        note = customer.book.notes.get(self.key)
        bought = self._recently_bought(customer) if note is None else note.texts
        return tuple(
            item
            for item in items
            if item != about
            and item not in bought
            and ((offered := world.catalogue.get(item)) is None or offered.stock != 0)
        )

    def _remember(self, seen: Seen) -> None:
        book, item = seen.customer.book, seen.fact.item
        assert item is not None
        note = book.notes.get(self.key)
        if note is None:
            note = self.note(seen)
            note.texts = self._recently_bought(seen.customer)
        _append(note.texts, item)

    def _recently_bought(self, customer: Customer) -> list[str]:
        """What the last events say was bought, for a customer of whom nothing was noted yet."""
        if customer.book.revision <= 1:
            return []
        recent = customer.profile().tag(Recent)
        return [
            item
            for action, item in zip(recent.actions, recent.items, strict=True)
            if item is not None and among(action, self._bought_by)
        ]


def _append(bought: list[str], item: str) -> None:
    if item in bought:
        bought.remove(item)
    bought.append(item)
    del bought[:-BOUGHT_LIMIT]
