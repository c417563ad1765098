"""Fence trigger: a customer comes near a shop, or stays there a while."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from schemas.control import Campaign
from schemas.event import Location
from schemas.triggers import FenceTrigger
from scoring.campaigns.base import Seen, Spoken, Watch, resting
from scoring.campaigns.grid import PlaceGrid, distance_m
from scoring.campaigns.near import Fence
from state.book import Armed
from state.customer import Customer
from state.fact import Fact
from state.tagging.location import Location as Known

if TYPE_CHECKING:
    from scoring.world import World

GAP_MS: Final = 3_600_000
"""Without a fix for so long a stay is not known to have gone on: it begins anew."""

CENTRE: Final = "centre"
"""The name of the place of a fence that has one centre."""


class FenceWatch(Watch):
    """Fires when a fix lies inside that did not before, or the stay has become long enough.

    There is a note of who is inside: ``text`` is the place, ``since_ms`` when the stay began,
    ``last_ms`` the newest fix, and ``seen`` how long they had stayed by then. Who is at one shop
    stays at it while within its radius, though another be nearer. A fix less exact than the radius
    says nothing, nor does one that is older than another.
    """

    FILTERED = False

    __slots__ = ("_centre", "_chain", "_radius_m")

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        trigger = specs[0].trigger
        assert isinstance(trigger, FenceTrigger)
        self.fence = Fence(trigger.centre, trigger.chain, trigger.radius_m)
        self._radius_m: Final = trigger.radius_m
        self._chain: Final = trigger.chain
        self._centre: Final = PlaceGrid()
        if trigger.centre is not None:
            self._centre.put(CENTRE, trigger.centre.lat, trigger.centre.lon)

    @classmethod
    def pattern(cls, trigger: FenceTrigger) -> tuple[object, ...]:
        """The fence; entry and stay are seen by the same look."""
        return trigger.centre, trigger.chain, trigger.radius_m

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Who waited for this entry, or for this stay."""
        fact, book = seen.fact, seen.customer.book
        fix = fact.location
        assert fix is not None
        if fix.accuracy_m is not None and fix.accuracy_m > self._radius_m:
            return ()
        if fact.ts < book.newest_ms and fact.ts < seen.customer.profile().tag(Known).at_ms:
            return ()
        note = book.notes.get(self.key)
        place = self._place(fix, None if note is None else note.text, seen.world)
        if place is None:
            book.notes.pop(self.key, None)
            return ()
        if note is None:
            note = self.note(seen)
        entered = place != note.text
        if entered or fact.ts - note.last_ms > GAP_MS:
            note.text, note.since_ms, note.seen = place, fact.ts, 0
        note.last_ms = fact.ts
        before_ms, note.seen = note.seen, fact.ts - note.since_ms
        if not self.fits(fact):
            return ()
        trigger = seen.trigger(place=place)
        return [
            (spec, trigger)
            for spec in self.specs
            if _wants(spec, entered, before_ms, note.seen) and not resting(spec, fact.ts, book)
        ]

    def takes_back(
        self, spec: Campaign, fact: Fact, pending: Armed, customer: Customer, world: World
    ) -> bool:
        """They were seen elsewhere."""
        if fact.location is None:
            return False
        return self.still(spec, pending, fact.ts, customer, world) is None

    def still(
        self, spec: Campaign, pending: Armed, now_ms: int, customer: Customer, world: World
    ) -> Armed | None:
        """Nothing is left once they were seen elsewhere."""
        note = customer.book.notes.get(self.key)
        return pending if note is not None and note.text == pending.place else None

    def _place(self, fix: Location, at: str | None, world: World) -> str | None:
        shops = self._centre if self._chain is None else world.shops.get(self._chain)
        if shops is None:
            return None
        here = None if at is None else shops.get(at)
        if here is not None and distance_m(fix.lat, fix.lon, here[1], here[2]) <= self._radius_m:
            return here[0]
        found = shops.nearest(fix.lat, fix.lon, self._radius_m)
        return None if found is None else found[0]


def _wants(spec: Campaign, entered: bool, before_ms: int, stayed_ms: int) -> bool:
    trigger = spec.trigger
    assert isinstance(trigger, FenceTrigger)
    if trigger.on == "enter":
        return entered
    return before_ms < trigger.dwell_ms <= stayed_ms
