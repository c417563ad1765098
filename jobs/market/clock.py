"""Event time that may run faster than wall time, and never ahead of it."""

from __future__ import annotations

from msgspec import Struct


class EventClock(Struct, frozen=True):
    """Maps wall seconds to event milliseconds: a start and a scale."""

    wall_start_s: float
    event_start_ms: int
    scale: float = 1.0

    @classmethod
    def ending_now(cls, wall_start_s: float, seconds: float, scale: float) -> EventClock:
        """A clock that meets wall time after ``seconds``, so that nothing is from the future."""
        behind_s = seconds * (scale - 1)
        return cls(wall_start_s, round((wall_start_s - behind_s) * 1_000), scale)

    def event_ms(self, wall_s: float) -> int:
        """Event time at a wall time."""
        return self.event_start_ms + int((wall_s - self.wall_start_s) * self.scale * 1_000)

    def wall_s(self, event_ms: float) -> float:
        """Wall time at which event time gets to ``event_ms``."""
        return self.wall_start_s + (event_ms - self.event_start_ms) / (self.scale * 1_000)
