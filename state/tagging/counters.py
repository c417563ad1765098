"""How often the customer did what: per action and window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import field

from schemas.event import ACTIONS
from state.fact import Fact
from state.tagging.base import DAY_MS, HOUR_MS, MINUTE_MS, Dimension, Tag, Value

COUNTED: Final = (*ACTIONS, "other")
_PLACE: Final = {action: place for place, action in enumerate(ACTIONS)}
_OTHER: Final = len(ACTIONS)

# A window is a number of whole buckets, the newest included, so its edge moves by one bucket:
# an hour in steps of five minutes, a day in hours, the long ones in UTC days.
_FINE_MS: Final = 5 * MINUTE_MS
_GRIDS: Final = ((_FINE_MS, 12), (HOUR_MS, 24), (DAY_MS, 30))
WINDOWS: Final[dict[str, tuple[int, int]]] = {
    "1h": (0, 12),
    "24h": (1, 24),
    "7d": (2, 7),
    "30d": (2, 30),
}


_NAMES: Final = {
    f"{action}_count_{window}": (action, window)
    for action in COUNTED
    for window in (*WINDOWS, "total")
}


class Counters(Tag):
    """Counts of each action: for ever, and in buckets over three grids of time.

    ``grids[action][grid]`` is ``[bucket, count, bucket, count, …]``, oldest first, no empty ones.
    """

    APART = True

    lifetime: list[int] = field(default_factory=lambda: [0] * len(COUNTED))
    grids: dict[int, list[list[int]]] = field(default_factory=dict)

    def apply_all(self, facts: Sequence[Fact]) -> None:
        """Count the facts in each grid."""
        lifetime, every = self.lifetime, self.grids
        for fact in facts:
            place, ts = _PLACE.get(fact.action, _OTHER), fact.ts
            lifetime[place] += 1
            grids = every.get(place)
            if grids is None:
                grids = every[place] = [[], [], []]
            fine, hours, days = grids
            if fine and fine[-2] == ts // _FINE_MS:
                # Each newest bucket lies within the newest one of the next grid.
                fine[-1] += 1
                hours[-1] += 1
                days[-1] += 1
                continue
            for buckets, (width, length) in zip(grids, _GRIDS):  # noqa: B905 - costs a tenth
                bucket = ts // width
                if buckets and buckets[-2] == bucket:
                    buckets[-1] += 1
                elif not buckets or buckets[-2] < bucket:
                    buckets += (bucket, 1)
                    while buckets[0] <= bucket - length:
                        del buckets[:2]
                else:
                    _count_late(buckets, bucket, length)

    def count(self, action: str, window: str, now_ms: int) -> int:
        """How often ``action`` happened in a window of `WINDOWS` that ends at ``now_ms``."""
        grids = self.grids.get(_PLACE.get(action, _OTHER))
        if grids is None:
            return 0
        grid, length = WINDOWS[window]
        newest = now_ms // _GRIDS[grid][0]
        oldest = newest - length
        found = 0
        buckets = iter(grids[grid])
        for bucket, times in zip(buckets, buckets):  # noqa: B905 - they come in pairs
            if oldest < bucket <= newest:
                found += times
        return found

    def dimension(self, name: str, now_ms: int) -> Value:
        """One of `dimensions`."""
        action, window = _NAMES[name]
        if window == "total":
            return self.lifetime[_PLACE.get(action, _OTHER)]
        return self.count(action, window, now_ms)

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """``<action>_count_<window>`` and ``<action>_count_total``."""
        values: dict[str, Value] = {}
        for place, action in enumerate(COUNTED):
            for window in WINDOWS:
                values[f"{action}_count_{window}"] = self.count(action, window, now_ms)
            values[f"{action}_count_total"] = self.lifetime[place]
        return values

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """Five counts for each of the ten actions."""
        return tuple(
            Dimension(f"{action}_count_{window}", "int", "events", f"{action} in the last {window}")
            if window != "total"
            else Dimension(f"{action}_count_total", "int", "events", f"{action}, ever")
            for action in COUNTED
            for window in (*WINDOWS, "total")
        )


def _count_late(buckets: list[int], bucket: int, length: int) -> None:
    """Count in an older bucket, keeping the order; what lies before the window is left out."""
    if bucket <= buckets[-2] - length:
        return
    place = 0
    while buckets[place] < bucket:
        place += 2
    if buckets[place] == bucket:
        buckets[place + 1] += 1
    else:
        buckets[place:place] = (bucket, 1)
