"""How long a decision took, counted from when its event was meant to be sent."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.decision import Decision

_GROWTH: Final = math.log(1.02)  # a bucket is 2 % wide
_SMALLEST_MS: Final = 0.01
_BUCKETS: Final = 1_000


class Histogram:
    """Counts of durations in buckets of 2 %, from 10 µs to hours."""

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(_BUCKETS, np.int64)

    def record(self, ms: float) -> None:
        """Count one duration."""
        bucket = 0 if ms <= _SMALLEST_MS else int(math.log(ms / _SMALLEST_MS) / _GROWTH) + 1
        self.counts[min(bucket, _BUCKETS - 1)] += 1

    def percentile(self, percent: float, since: NDArray[np.int64] | None = None) -> float | None:
        """Milliseconds that ``percent`` of the durations do not exceed, None when there are none.

        ``since`` is an earlier copy of `counts`: only what came after it is looked at.
        """
        counts = self.counts if since is None else self.counts - since
        total = int(counts.sum())
        if total == 0:
            return None
        bucket = int(np.searchsorted(np.cumsum(counts), math.ceil(total * percent / 100)))
        return _SMALLEST_MS * math.exp(bucket * _GROWTH)


class LatencyTracker:
    """Intended send times by event id, and the histogram of what they led to.

    Holds at least the ``limit`` newest events, at most twice as many. Decisions of absence
    triggers are not counted: they are meant to come long after their event.
    """

    def __init__(self, limit: int = 200_000) -> None:
        self.histogram = Histogram()
        self._limit = limit
        self._newer: dict[str, float] = {}
        self._older: dict[str, float] = {}

    def intend(self, event_id: str, wall_s: float) -> None:
        """Note when an event is meant to be sent."""
        if len(self._newer) >= self._limit:
            self._newer, self._older = {}, self._newer
        self._newer[event_id] = wall_s

    def intended(self, event_id: str) -> float | None:
        """When an event was meant to be sent, None when it is not known any more."""
        found = self._newer.get(event_id)
        return self._older.get(event_id) if found is None else found

    def observe(self, decision: Decision, wall_s: float) -> float | None:
        """Count a decision read at ``wall_s``; returns its latency in milliseconds, if known."""
        if decision.trigger != "event":
            return None
        intended = self.intended(decision.trigger_event_id)
        if intended is None:
            return None
        latency_ms = (wall_s - intended) * 1_000
        self.histogram.record(latency_ms)
        return latency_ms
