"""Slot trigger: items to recommend, from lists that are made overnight."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from schemas.control import Campaign
from schemas.triggers import SlotTrigger
from scoring.campaigns.base import Seen, Spoken, Watch, names, resting
from scoring.campaigns.done import DoneWatch, recently_done
from state.book import Armed
from state.customer import Customer
from state.tagging.traits import Traits

if TYPE_CHECKING:
    from scoring.world import World


class SlotWatch(Watch):
    """Fires at one of ``actions`` with the first items of the list that may be shown."""

    __slots__ = ("_bought", "_by", "_list")

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        trigger = specs[0].trigger
        assert isinstance(trigger, SlotTrigger)
        self.actions = names(trigger.actions)
        self._bought: Final = DoneWatch(trigger.bought_by)
        self._list: Final = trigger.list
        self._by: Final = trigger.by

    @classmethod
    def pattern(cls, trigger: SlotTrigger) -> tuple[object, ...]:
        """The list and its use; slots differ in size."""
        return trigger.actions, trigger.list, trigger.by, trigger.bought_by

    def companions(self) -> Iterable[Watch]:
        """Who remembers what was bought."""
        return (self._bought,)

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Whoever is not resting, with what may be shown."""
        fact, book = seen.fact, seen.customer.book
        ready = [spec for spec in self.specs if not resting(spec, fact.ts, book)]
        if not ready:
            return ()
        items = self._showable(self._listed(seen), fact.item, seen.customer, seen.world)
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

    def still(
        self, spec: Campaign, pending: Armed, now_ms: int, customer: Customer, world: World
    ) -> Armed | None:
        """What is left of the items that were chosen."""
        left = self._showable(pending.items, None, customer, world)
        return replace(pending, items=left, item=left[0]) if left else None

    def _listed(self, seen: Seen) -> tuple[str, ...]:
        fact, world = seen.fact, seen.world
        if self._by == "customer":
            picks = seen.customer.profile().tag(Traits).get("picks")
            about = world.lists.get((self._list, fact.item)) if fact.item else None
            fresh = () if about is None else about.items
            if picks is not None:
                return freshened(tuple(str(picks).split()), fresh)
            if fresh:
                return fresh
        of = fact.item if self._by == "item" else fact.category if self._by == "category" else None
        found = world.lists.get((self._list, of)) if of else None
        found = found or world.lists.get((self._list, ""))
        return () if found is None else found.items

    def _showable(
        self, items: Iterable[str], about: str | None, customer: Customer, world: World
    ) -> tuple[str, ...]:
        note = customer.book.notes.get(self._bought.key)
        bought = recently_done(customer, self._bought.actions) if note is None else note.texts
        return tuple(
            item
            for item in items
            if item != about
            and item not in bought
            and ((offered := world.catalogue.get(item)) is None or offered.stock != 0)
        )


def freshened(picks: tuple[str, ...], about: tuple[str, ...]) -> tuple[str, ...]:
    """What was picked overnight, mixed with what goes with the item of the moment.

    First what is in both, then one of each in turn; nothing comes twice.
    """
    both = set(picks) & set(about)
    mixed = [item for item in picks if item in both]
    for pair in zip_longest(about, picks):
        mixed += [item for item in pair if item is not None and item not in both]
    return tuple(dict.fromkeys(mixed))
