"""When the customer is active: by hour of the day and day of the week, UTC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import field

from state.fact import Fact
from state.tagging.base import DAY_MS, HOUR_MS, Dimension, Tag, Value, ratio

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CEILING: Final = 32_768

_DAY_ZERO: Final = 3  # the epoch began on a Thursday
_HOUR_NAMES: Final = tuple(f"habit_hour_{hour:02d}_share" for hour in range(24))
_DAY_NAMES: Final = tuple(f"habit_{day}_share" for day in WEEKDAYS)
_PARTS: Final = {"night": (0, 6), "morning": (6, 12), "afternoon": (12, 18), "evening": (18, 24)}


class Habits(Tag):
    """Two histograms; a histogram whose counter reaches `CEILING` is halved as a whole."""

    hours: list[int] = field(default_factory=list)
    weekdays: list[int] = field(default_factory=list)

    def apply_all(self, facts: Sequence[Fact]) -> None:
        """Count each fact's hour and weekday."""
        hours, weekdays = self.hours, self.weekdays
        if not hours:
            hours = self.hours = [0] * 24
            weekdays = self.weekdays = [0] * 7
        for fact in facts:
            ts = fact.ts
            hour = ts // HOUR_MS % 24
            hours[hour] += 1
            if hours[hour] >= CEILING:
                hours = self.hours = [count >> 1 for count in hours]
            day = (ts // DAY_MS + _DAY_ZERO) % 7
            weekdays[day] += 1
            if weekdays[day] >= CEILING:
                weekdays = self.weekdays = [count >> 1 for count in weekdays]

    def hour_share(self, hour: int) -> float | None:
        """The part of the events that fell into an hour of the day, UTC."""
        return ratio(self.hours[hour], sum(self.hours)) if self.hours else None

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """Shares by hour and weekday, and the favourites."""
        hours = self.hours or [0] * 24
        weekdays = self.weekdays or [0] * 7
        events, days = sum(hours), sum(weekdays)
        values: dict[str, Value] = {
            name: ratio(count, events) for name, count in zip(_HOUR_NAMES, hours, strict=True)
        }
        for name, count in zip(_DAY_NAMES, weekdays, strict=True):
            values[name] = ratio(count, days)
        for part, (start, end) in _PARTS.items():
            values[f"habit_{part}_share"] = ratio(sum(hours[start:end]), events)
        values["habit_weekend_share"] = ratio(sum(weekdays[5:]), days)
        values["habit_favourite_hour"] = hours.index(max(hours)) if events else None
        values["habit_favourite_weekday"] = (
            WEEKDAYS[weekdays.index(max(weekdays))] if days else None
        )
        return values

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """31 shares, five parts and two favourites; of equal ones the first."""
        shares = (
            Dimension(name, "float", "ratio", "part of the events in this UTC hour or weekday")
            for name in (*_HOUR_NAMES, *_DAY_NAMES)
        )
        parts = (
            Dimension(
                f"habit_{part}_share", "float", "ratio", f"{start:02d}:00 to {end:02d}:00 UTC"
            )
            for part, (start, end) in _PARTS.items()
        )
        return (
            *shares,
            *parts,
            Dimension("habit_weekend_share", "float", "ratio", "Saturday and Sunday, UTC"),
            Dimension("habit_favourite_hour", "int", "h", "UTC hour with the most events"),
            Dimension("habit_favourite_weekday", "str", "weekday", "UTC day with the most events"),
        )
