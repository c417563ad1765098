"""What lies in the cart, and what was left there.

An item put into the cart and neither bought nor taken out within 30 minutes is an abandonment, of
the moment when the 30 minutes end. Putting it in again before that starts them anew. A purchase or
removal that names no item is about the whole cart. Time goes on by itself: as of a later
``now_ms`` an open item is an abandonment although no further fact came.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import Final

from msgspec import field

from state.fact import Fact
from state.tagging.base import (
    DAY_MS,
    MINUTE_MS,
    Dimension,
    Tag,
    Value,
    amount,
    ratio,
    seconds_since,
)

PATIENCE_MS: Final = 30 * MINUTE_MS
OPEN_LIMIT: Final = 24
ABANDONED_LIMIT: Final = 64

_WINDOW_MS: Final = 7 * DAY_MS

Line = tuple[int, float]
"""When an item was put into the cart, and price times quantity."""


class Carts(Tag):
    """Open items, and the times of recent abandonments.

    Of more than `OPEN_LIMIT` open items the oldest is taken for abandoned at once; of more than
    `ABANDONED_LIMIT` abandonments in seven days the oldest are not counted.
    """

    LISTENS = frozenset({"cart", "cart_remove", "purchase"})

    open: dict[str, Line] = field(default_factory=dict)
    abandoned_ms: list[int] = field(default_factory=list)
    abandoned_total: int = 0
    bought_total: int = 0
    last_cart_ms: int = 0
    last_abandoned_ms: int = 0
    last_abandoned_item: str | None = None
    last_abandoned_value: float = 0.0

    def apply(self, fact: Fact) -> None:
        """Close what waited too long, then open or close what the fact names."""
        ts = fact.ts
        if self.open:
            for item in self._overdue(ts):
                self._abandon(item)
        if fact.action == "cart":
            if fact.item is not None:
                self._put(fact.item, (ts, amount(fact)))
            return
        closed = [
            item
            for item, line in self.open.items()
            if (fact.item is None or item == fact.item) and line[0] <= ts
        ]
        for item in closed:
            del self.open[item]
        if fact.action == "purchase":
            self.bought_total += len(closed)

    def _put(self, item: str, line: Line) -> None:
        items = self.open
        known = items.get(item)
        if known is None or known[0] <= line[0]:
            items[item] = line
        if line[0] > self.last_cart_ms:
            self.last_cart_ms = line[0]
        if len(items) > OPEN_LIMIT:
            self._abandon(min(items, key=lambda name: (items[name][0], name)))

    def _overdue(self, now_ms: int) -> list[str]:
        """Open items that are abandoned as of ``now_ms``, oldest first, equal times by name."""
        newest = now_ms - PATIENCE_MS
        overdue = [item for item, line in self.open.items() if line[0] <= newest]
        if len(overdue) > 1:
            overdue.sort(key=lambda item: (self.open[item][0], item))
        return overdue

    def _abandon(self, item: str) -> None:
        put_ms, value = self.open.pop(item)
        due_ms = put_ms + PATIENCE_MS
        times = self.abandoned_ms
        insort(times, due_ms)
        past = bisect_right(times, times[-1] - _WINDOW_MS)
        del times[: max(past, len(times) - ABANDONED_LIMIT)]
        self.abandoned_total += 1
        if due_ms >= self.last_abandoned_ms:
            self.last_abandoned_ms = due_ms
            self.last_abandoned_item = item
            self.last_abandoned_value = value

    def abandonments(self, now_ms: int, window_ms: int = _WINDOW_MS) -> int:
        """Abandonments in the window, of at most 7 days, that ends at ``now_ms``."""
        times = self.abandoned_ms
        counted = bisect_right(times, now_ms) - bisect_right(times, now_ms - window_ms)
        newest, oldest = now_ms - PATIENCE_MS, now_ms - PATIENCE_MS - window_ms
        return counted + sum(1 for put_ms, _ in self.open.values() if oldest < put_ms <= newest)

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """The cart and its abandonments as of ``now_ms``."""
        overdue = self._overdue(now_ms)
        waiting = [line for item, line in self.open.items() if item not in overdue]
        last_ms, item, value = (
            self.last_abandoned_ms,
            self.last_abandoned_item,
            self.last_abandoned_value,
        )
        if overdue and self.open[overdue[-1]][0] + PATIENCE_MS >= last_ms:
            item = overdue[-1]
            last_ms, value = self.open[item][0] + PATIENCE_MS, self.open[item][1]
        total = self.abandoned_total + len(overdue)
        return {
            "cart_open_count": len(waiting),
            "cart_open_value": sum((line[1] for line in waiting), 0.0),
            "cart_open_oldest_age_s": seconds_since(
                min((line[0] for line in waiting), default=0), now_ms
            ),
            "cart_last_age_s": seconds_since(self.last_cart_ms, now_ms),
            "cart_abandoned_count_24h": self.abandonments(now_ms, DAY_MS),
            "cart_abandoned_count_7d": self.abandonments(now_ms),
            "cart_abandoned_count_total": total,
            "cart_bought_count_total": self.bought_total,
            "cart_abandoned_ratio": ratio(total, total + self.bought_total),
            "cart_last_abandoned_item": item,
            "cart_last_abandoned_value": None if item is None else value,
            "cart_last_abandoned_age_s": seconds_since(last_ms, now_ms),
        }

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """The open cart, abandonments, and the last of them."""
        return (
            Dimension(
                "cart_open_count", "int", "items", "put in less than 30 min ago, still there"
            ),
            Dimension(
                "cart_open_value", "float", "money", "price times quantity of the open items"
            ),
            Dimension("cart_open_oldest_age_s", "float", "s", "age of the oldest open item"),
            Dimension("cart_last_age_s", "float", "s", "time since something was put in"),
            Dimension("cart_abandoned_count_24h", "int", "items", "abandoned in the last 24 h"),
            Dimension("cart_abandoned_count_7d", "int", "items", "abandoned in the last 7 days"),
            Dimension("cart_abandoned_count_total", "int", "items", "abandoned, ever"),
            Dimension("cart_bought_count_total", "int", "items", "bought within 30 min, ever"),
            Dimension(
                "cart_abandoned_ratio", "float", "ratio", "abandoned of abandoned and bought"
            ),
            Dimension("cart_last_abandoned_item", "str", "item id", "abandoned last"),
            Dimension("cart_last_abandoned_value", "float", "money", "of the item abandoned last"),
            Dimension("cart_last_abandoned_age_s", "float", "s", "time since the last abandonment"),
        )
