"""Calendar days of a zone, as ``2026-11-24``; such names sort as the days do."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

DAY_MS: Final = 86_400_000
_QUARTER_S: Final = 900
_WESTMOST_MS: Final = 12 * 3_600_000


def day_of(zone: str, at_ms: int) -> str:
    """The local date of a moment.

    Every zone's offset has been a multiple of a quarter of an hour since long before 2000, so the
    date is the same within one, and asked of the zone's tables only once for each.
    """
    return _day_of_quarter(zone, at_ms // 1_000 // _QUARTER_S)


@lru_cache(4_096)
def _day_of_quarter(zone: str, quarter: int) -> str:
    return datetime.fromtimestamp(quarter * _QUARTER_S, ZoneInfo(zone)).date().isoformat()


@lru_cache(1_024)
def day_bounds(zone: str, day: str) -> tuple[int, int]:
    """Midnight to midnight, UTC ms; 23 or 25 hours apart when the clock changes between."""
    midnight = datetime.combine(date.fromisoformat(day), time(), ZoneInfo(zone))
    after = datetime.combine(date.fromisoformat(day) + timedelta(1), time(), ZoneInfo(zone))
    return round(midnight.timestamp() * 1_000), round(after.timestamp() * 1_000)


def newest_ended_day(at_ms: int, days_ago: int = 0) -> str:
    """The newest day that is over in every zone, or was so ``days_ago``."""
    return day_of("UTC", at_ms - _WESTMOST_MS - (days_ago + 1) * DAY_MS)
