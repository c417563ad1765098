"""The customer's clock: IANA zones, hours that are quiet by it, calendar periods.

Exact through changes to and from summer time, for hours that a day skips or has twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from state.profile import Profile
from state.tagging.traits import Traits

DAY_MS: Final = 86_400_000
_SECOND: Final = timedelta(seconds=1)


@lru_cache(maxsize=1_024)  # names are the producers' words
def zone(name: str) -> ZoneInfo | None:
    """The zone of an IANA name; None where there is none of this name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name at all; a folder of zones
        return None


def zone_of(profile: Profile, default: tzinfo) -> tzinfo:
    """The customer's zone; ``default`` where nobody told it, or what they told is none."""
    told = profile.tag(Traits).get("zone")
    return (zone(told) if isinstance(told, str) else None) or default


def offset_ms(at_ms: int, where: tzinfo) -> int:
    """How far the clocks of a zone are ahead of UTC at a moment."""
    offset = datetime.fromtimestamp(at_ms // 1_000, where).utcoffset()
    return 0 if offset is None else offset // _SECOND * 1_000


class Span:
    """A part of every day between two times of the clock; over midnight if it ends before."""

    __slots__ = ("_end", "_over_midnight", "_start")

    def __init__(self, start: str, end: str) -> None:
        """``start`` and ``end`` such as ``22:00``; the end belongs to it no more.

        Raises:
            ValueError: it ends where it starts, which would be never or always.
        """
        if start == end:
            raise ValueError(f"hours from {start} to {end} are none")
        self._start: Final = _of_day(start)
        self._end: Final = _of_day(end)
        self._over_midnight: Final = self._start > self._end

    def holds(self, at_ms: int, where: tzinfo) -> bool:
        """Whether the clock is within the span."""
        return self._within((at_ms + offset_ms(at_ms, where)) % DAY_MS)

    def ends_ms(self, at_ms: int, where: tzinfo) -> int:
        """The first moment, from ``at_ms`` on, when the clock is not within the span."""
        return self._first(at_ms, where, within=False)

    def starts_ms(self, at_ms: int, where: tzinfo) -> int:
        """The first moment, from ``at_ms`` on, when the clock is within the span."""
        return self._first(at_ms, where, within=True)

    def _within(self, of_day: int) -> bool:
        if self._over_midnight:
            return of_day >= self._start or of_day < self._end
        return self._start <= of_day < self._end

    def _first(self, at_ms: int, where: tzinfo, *, within: bool) -> int:
        """Go to the edge by the present offset; where the clocks change before, look again there.

        The clock may leap over an edge, or back before one, so an edge alone says nothing.
        """
        edge = self._start if within else self._end
        while True:
            offset = offset_ms(at_ms, where)
            of_day = (at_ms + offset) % DAY_MS
            if self._within(of_day) == within:
                return at_ms
            goal = at_ms + (edge - of_day) % DAY_MS
            if offset_ms(goal, where) == offset:
                return goal
            at_ms = _change(at_ms, goal, offset, where)


def period_start_ms(per: str, at_ms: int, where: tzinfo) -> int:
    """When the day, week (from Monday) or month began that ``at_ms`` belongs to by the clock."""
    day = datetime.fromtimestamp(at_ms // 1_000, where).replace(
        hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0
    )
    if per == "week":
        day -= timedelta(days=day.weekday())
    elif per == "month":
        day = day.replace(day=1)
    # Of a midnight that is there twice this is the first; of one that is skipped, the leap.
    return round(day.replace(tzinfo=where).astimezone(UTC).timestamp()) * 1_000


def _change(before_ms: int, after_ms: int, offset: int, where: tzinfo) -> int:
    """The first second of another offset between two moments."""
    low, high = before_ms // 1_000, after_ms // 1_000
    while high - low > 1:
        middle = (low + high) // 2
        if offset_ms(middle * 1_000, where) == offset:
            low = middle
        else:
            high = middle
    return high * 1_000


def _of_day(time: str) -> int:
    hours, minutes = time.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000
