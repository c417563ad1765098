"""The gap between what a campaign should have reached by now and what it has, hour by hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

_HOUR_MS: Final = 3_600_000
_WEEK_HOURS: Final = 168
_MONDAY_HOUR: Final = 96  # the first hour of a week, counted from the epoch, a Thursday


class Target(Struct, frozen=True):
    """How much of a metric to reach from ``starts_ms`` until ``ends_ms``.

    ``rhythm`` gives each hour of a week, Monday 00:00 UTC first, its weight; without it all hours
    are alike.
    """

    metric: str
    amount: float
    starts_ms: int
    ends_ms: int
    rhythm: Sequence[float] = ()


class GapHour(Struct, frozen=True):
    """Where a campaign stood at the end of an hour, or now: all that was due and reached by then.

    ``gap`` is what is missing, negative when it is ahead.
    """

    hour_ms: int
    due: float
    reached: float

    @property
    def gap(self) -> float:
        """What is missing."""
        return self.due - self.reached


def gaps(target: Target, reached: Mapping[int, float], now_ms: int) -> list[GapHour]:
    """An entry for each hour from the target's start until now or its end.

    ``reached`` is what each hour brought, by the time at which it began.

    Raises:
        ValueError: a target that ends before it starts, or a rhythm that is no week.
    """
    if target.ends_ms <= target.starts_ms:
        raise ValueError(f"the target for {target.metric!r} ends before it starts")
    rhythm = target.rhythm or (1.0,) * _WEEK_HOURS
    if len(rhythm) != _WEEK_HOURS or min(rhythm) < 0 or not sum(rhythm):
        raise ValueError(f"a rhythm of {len(rhythm)} hours; give 168, none negative, not all 0")
    first = target.starts_ms // _HOUR_MS
    last = -(-target.ends_ms // _HOUR_MS)
    weights = [_weight(target, rhythm, hour, target.ends_ms) for hour in range(first, last)]
    whole = sum(weights)
    rows = []
    passed = so_far = 0.0
    for hour, weight in zip(range(first, last), weights, strict=True):
        start_ms = hour * _HOUR_MS
        if start_ms > now_ms:
            break
        ended = start_ms + _HOUR_MS <= now_ms
        passed += weight if ended else _weight(target, rhythm, hour, now_ms)
        so_far += reached.get(start_ms, 0.0)
        rows.append(GapHour(start_ms, target.amount * passed / whole if whole else 0.0, so_far))
    return rows


def _weight(target: Target, rhythm: Sequence[float], hour: int, until_ms: int) -> float:
    """The weight of as much of an hour as lies in the target's time, up to ``until_ms``."""
    begin = max(hour * _HOUR_MS, target.starts_ms)
    end = min((hour + 1) * _HOUR_MS, target.ends_ms, until_ms)
    return rhythm[(hour - _MONDAY_HOUR) % _WEEK_HOURS] * max(0, end - begin) / _HOUR_MS
