"""Latencies by the second in which the event was meant to be sent; percentiles never averaged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from hdrh.histogram import HdrHistogram

HIGHEST_US: Final = 3_600_000_000
"""An hour; a decision that never came is counted here and reported as infinite."""

_DIGITS: Final = 3


def histogram() -> HdrHistogram:
    """An empty histogram of microseconds, from 1 µs to an hour, three digits."""
    return HdrHistogram(1, HIGHEST_US, _DIGITS)


def merged(parts: Iterable[HdrHistogram]) -> HdrHistogram:
    """One histogram of all values of several."""
    whole = histogram()
    for part in parts:
        whole.add(part)
    return whole


def quantile_ms(part: HdrHistogram, percent: float) -> float:
    """A percentile in milliseconds; infinite when it falls among the missing, NaN for no values."""
    if part.get_total_count() == 0:
        return math.nan
    value = part.get_value_at_percentile(percent)
    return math.inf if value >= part.get_lowest_equivalent_value(HIGHEST_US) else value / 1_000


class Latencies:
    """Latency of each answer that had to come, by the second of its intended send."""

    def __init__(self) -> None:
        self.seconds: dict[int, HdrHistogram] = {}
        self.missing = 0

    def record(self, intended_ns: int, latency_ns: int) -> None:
        """Count an answer; ``intended_ns`` is relative to the start of the schedule."""
        # An answer cannot come before its cause: anything below 1 µs is the clock's grain.
        self._second(intended_ns).record_value(min(max(1, latency_ns // 1_000), HIGHEST_US))

    def record_missing(self, intended_ns: int) -> None:
        """Count an answer that never came: infinitely late."""
        self.missing += 1
        self._second(intended_ns).record_value(HIGHEST_US)

    def percentile_ms(self, percent: float) -> float:
        """Over the whole run."""
        return quantile_ms(merged(self.seconds.values()), percent)

    def worst_ms(self, percent: float, seconds: int) -> float:
        """The highest such percentile over any ``seconds`` seconds in a row."""
        if not self.seconds:
            return math.nan
        first, last = min(self.seconds), max(self.seconds)
        worst = 0.0
        for start in range(first, max(first, last - seconds + 1) + 1):
            window = [
                self.seconds[at] for at in range(start, start + seconds) if at in self.seconds
            ]
            if window:
                worst = max(worst, quantile_ms(merged(window), percent))
        return worst

    def figures(self) -> Mapping[str, float | int]:
        """What goes into the results."""
        whole = merged(self.seconds.values())
        return {
            "answers": int(whole.get_total_count()),
            "missing": self.missing,
            "p50_ms": quantile_ms(whole, 50),
            "p90_ms": quantile_ms(whole, 90),
            "p99_ms": quantile_ms(whole, 99),
            "p999_ms": quantile_ms(whole, 99.9),
            "worst_ms": quantile_ms(whole, 100),
            "worst_second_p99_ms": self.worst_ms(99, 1),
            "worst_ten_seconds_p99_ms": self.worst_ms(99, 10),
        }

    def _second(self, intended_ns: int) -> HdrHistogram:
        second = intended_ns // 1_000_000_000
        found = self.seconds.get(second)
        if found is None:
            found = self.seconds[second] = histogram()
        return found
