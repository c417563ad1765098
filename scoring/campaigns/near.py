"""Fences by where they are: of thousands, which concern somebody who is here?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from schemas.event import Location
from schemas.triggers import Point
from scoring.campaigns.grid import PlaceGrid

if TYPE_CHECKING:
    from scoring.campaigns.base import Watch
    from scoring.world import World
    from state.book import Book


class Fence(NamedTuple):
    """A circle around one centre, or around each shop of a chain; in metres."""

    centre: Point | None
    chain: str | None
    radius_m: float


class Near:
    """The watches of fences. One look at the map for each radius that any of them has."""

    def __init__(self, watches: Iterable[Watch]) -> None:
        self._watches: Final[dict[str, Watch]] = {}
        self._centres: Final[dict[float, PlaceGrid]] = {}
        self._chains: Final[defaultdict[float, defaultdict[str, list[Watch]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for watch in watches:
            fence = watch.fence
            assert fence is not None
            self._watches[watch.key] = watch
            if fence.centre is not None:
                grid = self._centres.setdefault(fence.radius_m, PlaceGrid())
                grid.put(watch.key, fence.centre.lat, fence.centre.lon)
            else:
                self._chains[fence.radius_m][fence.chain or ""].append(watch)

    def wanting(self, fix: Location, book: Book, world: World) -> list[Watch]:
        """The watches whose fence the customer is in, or was when last seen."""
        watches = self._watches
        found = {key: watches[key] for key in book.notes if key in watches}
        for radius_m, centres in self._centres.items():
            for key, _, _ in centres.within(fix.lat, fix.lon, radius_m):
                found[key] = watches[key]
        for radius_m, chains in self._chains.items():
            for name, _, _ in world.every_shop.within(fix.lat, fix.lon, radius_m):
                for watch in chains.get(name.partition("/")[0], ()):
                    found[watch.key] = watch
        return list(found.values())
