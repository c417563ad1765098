"""How often and how regularly the customer comes."""

from __future__ import annotations

from collections.abc import Sequence

from state.fact import Fact
from state.tagging.base import DAY_MS, Dimension, Tag, Value, days_since, ratio, seconds_since


class Tempo(Tag):
    """First and last event, the gap between the last two, and runs of active UTC days."""

    first_ms: int = 0
    last_ms: int = 0
    events: int = 0
    gap_ms: int = 0
    longest_gap_ms: int = 0
    last_day: int = 0
    active_days: int = 0
    streak: int = 0
    longest_streak: int = 0

    def apply_all(self, facts: Sequence[Fact]) -> None:
        """Measure the gap to the event before; a late fact counts, but moves no gap or day."""
        self.events += len(facts)
        first_ms, last_ms, last_day = self.first_ms, self.last_ms, self.last_day
        gap_ms, longest_gap_ms = self.gap_ms, self.longest_gap_ms
        for fact in facts:
            ts = fact.ts
            gap = ts - last_ms
            if gap < 0:
                if ts < first_ms:
                    first_ms = ts
                continue
            last_ms = ts
            if not first_ms:
                first_ms = ts
            else:
                gap_ms = gap
                if gap > longest_gap_ms:
                    longest_gap_ms = gap
            day = ts // DAY_MS
            if day != last_day:
                self.active_days += 1
                self.streak = self.streak + 1 if day == last_day + 1 else 1
                if self.streak > self.longest_streak:
                    self.longest_streak = self.streak
                last_day = day
        self.first_ms, self.last_ms, self.last_day = first_ms, last_ms, last_day
        self.gap_ms, self.longest_gap_ms = gap_ms, longest_gap_ms

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """Gaps, active days and streaks as of ``now_ms``."""
        known_days = now_ms // DAY_MS - self.first_ms // DAY_MS + 1
        alive = now_ms // DAY_MS <= self.last_day + 1
        gaps = self.events - 1
        return {
            "tempo_first_seen_ms": self.first_ms or None,
            "tempo_last_seen_ms": self.last_ms or None,
            "tempo_known_days": days_since(self.first_ms, now_ms),
            "tempo_idle_s": seconds_since(self.last_ms, now_ms),
            "tempo_events_total": self.events,
            "tempo_gap_last_s": self.gap_ms / 1_000 if gaps > 0 else None,
            "tempo_gap_mean_s": ratio(self.last_ms - self.first_ms, max(0, gaps) * 1_000),
            "tempo_gap_max_s": self.longest_gap_ms / 1_000 if gaps > 0 else None,
            "tempo_active_days": self.active_days,
            "tempo_active_day_ratio": (
                ratio(self.active_days, max(self.active_days, known_days)) if self.events else None
            ),
            "tempo_streak_days": self.streak if alive else 0,
            "tempo_streak_max_days": self.longest_streak,
        }

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """Gaps, active days and streaks."""
        return (
            Dimension("tempo_first_seen_ms", "int", "ms", "time of the first event, UTC"),
            Dimension("tempo_last_seen_ms", "int", "ms", "time of the newest event, UTC"),
            Dimension("tempo_known_days", "float", "d", "time since the first event"),
            Dimension("tempo_idle_s", "float", "s", "time since the newest event"),
            Dimension("tempo_events_total", "int", "events", "ever"),
            Dimension("tempo_gap_last_s", "float", "s", "between the newest two events"),
            Dimension("tempo_gap_mean_s", "float", "s", "mean time between events"),
            Dimension("tempo_gap_max_s", "float", "s", "longest time between events"),
            Dimension("tempo_active_days", "int", "d", "UTC days with an event, ever"),
            Dimension(
                "tempo_active_day_ratio", "float", "ratio", "of the days since the first one"
            ),
            Dimension(
                "tempo_streak_days", "int", "d", "running row of active days; yesterday holds"
            ),
            Dimension("tempo_streak_max_days", "int", "d", "longest row of active days"),
        )
