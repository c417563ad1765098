"""Dates ahead that a campaign speaks before: when a membership ends, when a payment is due.

A date that the customer's shop told is taken as it is. One that has passed is taken on by the
customer's own interval, if they kept to one; of whom that cannot be said, nothing is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from jobs.trainers.base import Matrix
from schemas.topics import DAY_MS

WAKE_DAYS: Final = 15
OVERDUE_DAYS: Final = 30
LEAST_DATES: Final = 3
"""Dates told until an interval is taken for a habit: two intervals that agree."""
UNSTEADY: Final = 0.25
"""How far an interval may be from the middle one, as a share of it."""


def next_date(told_ms: Sequence[int], now_ms: int) -> tuple[int, bool] | None:
    """The next date after ``now_ms`` from the dates told so far, and whether it was concluded.

    Concluded is only the one date that follows: who let a whole interval pass kept to it no more.
    """
    dates = sorted(set(told_ms))
    if not dates:
        return None
    if dates[-1] > now_ms:
        return dates[-1], False
    if len(dates) < LEAST_DATES:
        return None
    between = np.diff(dates)
    middle = float(np.median(between))
    if (np.abs(between - middle) > UNSTEADY * middle).any():
        return None
    following = dates[-1] + round(middle)
    return (following, True) if following > now_ms else None


def payments(
    due_ms: Sequence[int], paid_ms: Sequence[int], now_ms: int
) -> list[tuple[float, float, float, float]]:
    """Days until each payment was made, counted from `OVERDUE_DAYS` before it was due.

    A row for each due date whose days have begun: (days, whether it was made, payments before it,
    share of those that were late). A payment belongs to the first due date that is still open; one
    that is not made yet is censored.
    """
    rows: list[tuple[float, float, float, float]] = []
    paid = sorted(paid_ms)
    late = made = 0
    after_ms = 0
    for due in sorted(set(due_ms)):
        begins = max(due - OVERDUE_DAYS * DAY_MS, after_ms)
        if begins >= now_ms:
            break
        found = next((at for at in paid if begins < at <= now_ms), None)
        past = (float(np.log1p(made)), (late + 0.5) / (made + 2))
        if found is None:
            rows.append((_days(now_ms - begins), 0.0, *past))
            continue
        rows.append((_days(found - begins), 1.0, *past))
        paid = [at for at in paid if at > found]
        made, late, after_ms = made + 1, late + (found > due), found
    return rows


def calendar(dates_ms: Matrix, before_days: int, now_ms: int, days: int) -> list[int]:
    """How many customers are spoken to on each of the next days, so long before their date; who is
    nearer to it than that is spoken to on the first.
    """
    at = np.floor((dates_ms - before_days * DAY_MS - now_ms) / DAY_MS).astype(int)
    ahead = np.maximum(at[dates_ms > now_ms], 0)
    return np.bincount(ahead[ahead < days], minlength=days).tolist()  # type: ignore[no-any-return]


def _days(span_ms: int) -> float:
    return max(span_ms / DAY_MS, 1e-3)
