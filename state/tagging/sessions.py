"""Visits: runs of events with no more than 30 minutes between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from state.fact import Fact
from state.tagging.base import MINUTE_MS, Dimension, Tag, Value, ratio, seconds_since

GAP_MS: Final = 30 * MINUTE_MS


class Sessions(Tag):
    """The newest session, and sums over those before it."""

    start_ms: int = 0
    last_ms: int = 0
    events: int = 0
    closed: int = 0
    closed_events: int = 0
    closed_ms: int = 0
    bounces: int = 0
    longest_ms: int = 0

    def apply_all(self, facts: Sequence[Fact]) -> None:
        """Continue the newest session or begin another.

        A late fact before the newest session belongs to one whose bounds are forgotten, and is
        left out.
        """
        last_ms = self.last_ms
        for fact in facts:
            ts = fact.ts
            if ts - last_ms > GAP_MS:
                if self.events:
                    self.last_ms = last_ms
                    self._close()
                self.start_ms = last_ms = ts
                self.events = 1
            elif ts >= last_ms:
                last_ms = ts
                self.events += 1
            elif ts >= self.start_ms:
                self.events += 1
        self.last_ms = last_ms

    def _close(self) -> None:
        length_ms = self.last_ms - self.start_ms
        self.closed += 1
        self.closed_events += self.events
        self.closed_ms += length_ms
        if self.events == 1:
            self.bounces += 1
        if length_ms > self.longest_ms:
            self.longest_ms = length_ms

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """The newest session and the means over all."""
        length_ms = self.last_ms - self.start_ms
        count = self.closed + (1 if self.events else 0)
        over = now_ms - self.last_ms > GAP_MS
        # A single event is a bounce only once nothing can follow it any more.
        bounced = self.bounces + (1 if over and self.events == 1 else 0)
        return {
            "session_count": count,
            "session_active": bool(self.events) and not over,
            "session_events": self.events,
            "session_length_s": length_ms / 1_000 if self.events else None,
            "session_start_ms": self.start_ms or None,
            "session_start_age_s": seconds_since(self.start_ms, now_ms),
            "session_events_mean": ratio(self.closed_events + self.events, count),
            "session_length_mean_s": ratio(self.closed_ms + length_ms, count * 1_000),
            "session_length_max_s": max(self.longest_ms, length_ms) / 1_000 if count else None,
            "session_bounce_ratio": ratio(bounced, self.closed + (1 if over else 0)),
        }

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """The newest session and the means over all."""
        return (
            Dimension("session_count", "int", "sessions", "ever, the newest included"),
            Dimension("session_active", "bool", "", "whether the newest session can go on"),
            Dimension("session_events", "int", "events", "in the newest session"),
            Dimension(
                "session_length_s", "float", "s", "first to last event of the newest session"
            ),
            Dimension("session_start_ms", "int", "ms", "start of the newest session, UTC"),
            Dimension("session_start_age_s", "float", "s", "time since the newest session began"),
            Dimension("session_events_mean", "float", "events", "mean per session"),
            Dimension("session_length_mean_s", "float", "s", "mean length"),
            Dimension("session_length_max_s", "float", "s", "longest session"),
            Dimension("session_bounce_ratio", "float", "ratio", "ended sessions of one event"),
        )
