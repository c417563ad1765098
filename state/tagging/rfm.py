"""Recency, frequency and money of purchases."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from msgspec import field

from state.fact import Fact
from state.tagging.base import DAY_MS, Dimension, Tag, Value, amount, days_since, ratio

WINDOWS: Final[dict[str, int]] = {"30d": 30, "90d": 90}
"""Whole UTC days, the current one included."""

_KEPT_DAYS: Final = max(WINDOWS.values())


class Rfm(Tag):
    """Purchases for ever, and by UTC day (``days``, ``orders``, ``amounts``; oldest first)."""

    LISTENS = frozenset({"purchase", "refund"})

    orders_total: int = 0
    priced_total: int = 0
    units_total: int = 0
    amount_total: float = 0.0
    largest: float = 0.0
    first_ms: int = 0
    last_ms: int = 0
    refunds_total: int = 0
    refunded_total: float = 0.0
    days: list[int] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)
    amounts: list[float] = field(default_factory=list)

    def apply(self, fact: Fact) -> None:
        """Book a purchase or a refund."""
        paid = amount(fact)
        if fact.action == "refund":
            self.refunds_total += 1
            self.refunded_total += paid
            return
        self.orders_total += 1
        if fact.price is not None:
            self.priced_total += 1
            self.amount_total += paid
            if paid > self.largest:
                self.largest = paid
        self.units_total += 1 if fact.quantity is None else fact.quantity
        ts = fact.ts
        if ts > self.last_ms:
            self.last_ms = ts
        if ts < self.first_ms or not self.first_ms:
            self.first_ms = ts
        self._book(ts // DAY_MS, paid)

    def _book(self, day: int, paid: float) -> None:
        days = self.days
        place = len(days) - 1 if days and days[-1] == day else bisect_left(days, day)
        if place < len(days) and days[place] == day:
            self.orders[place] += 1
            self.amounts[place] += paid
            return
        days.insert(place, day)
        self.orders.insert(place, 1)
        self.amounts.insert(place, paid)
        past = bisect_left(days, days[-1] - _KEPT_DAYS + 1)
        if past:
            del days[:past], self.orders[:past], self.amounts[:past]

    def frequency(self, window: str, now_ms: int) -> int:
        """Purchases in a window of `WINDOWS` that ends at ``now_ms``."""
        return sum(self.orders[self._window(window, now_ms)])

    def monetary(self, window: str, now_ms: int) -> float:
        """Money spent in a window of `WINDOWS` that ends at ``now_ms``."""
        return sum(self.amounts[self._window(window, now_ms)], 0.0)

    def _window(self, window: str, now_ms: int) -> slice:
        after = now_ms // DAY_MS + 1
        return slice(bisect_left(self.days, after - WINDOWS[window]), bisect_left(self.days, after))

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """Recency, frequency and money as of ``now_ms``."""
        gaps = self.orders_total - 1
        values: dict[str, Value] = {
            "rfm_recency_days": days_since(self.last_ms, now_ms),
            "rfm_frequency_total": self.orders_total,
            "rfm_monetary_total": self.amount_total,
        }
        for window in WINDOWS:
            values[f"rfm_frequency_{window}"] = self.frequency(window, now_ms)
            values[f"rfm_monetary_{window}"] = self.monetary(window, now_ms)
        values["rfm_purchase_days_90d"] = len(self.days[self._window("90d", now_ms)])
        values["rfm_order_mean"] = ratio(self.amount_total, self.priced_total)
        values["rfm_order_max"] = self.largest if self.priced_total else None
        values["rfm_units_total"] = self.units_total
        values["rfm_first_purchase_ms"] = self.first_ms or None
        values["rfm_last_purchase_ms"] = self.last_ms or None
        values["rfm_customer_days"] = days_since(self.first_ms, now_ms)
        values["rfm_interval_mean_days"] = ratio(
            self.last_ms - self.first_ms, max(0, gaps) * DAY_MS
        )
        values["rfm_refunds_total"] = self.refunds_total
        values["rfm_refunded_total"] = self.refunded_total
        values["rfm_refund_ratio"] = ratio(self.refunds_total, self.orders_total)
        return values

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """Recency, frequency, money, and what follows from them."""
        return (
            Dimension("rfm_recency_days", "float", "d", "time since the last purchase"),
            Dimension("rfm_frequency_total", "int", "purchases", "ever"),
            Dimension("rfm_monetary_total", "float", "money", "spent, ever; refunds not deducted"),
            Dimension("rfm_frequency_30d", "int", "purchases", "in the last 30 days"),
            Dimension("rfm_monetary_30d", "float", "money", "spent in the last 30 days"),
            Dimension("rfm_frequency_90d", "int", "purchases", "in the last 90 days"),
            Dimension("rfm_monetary_90d", "float", "money", "spent in the last 90 days"),
            Dimension("rfm_purchase_days_90d", "int", "d", "days of the last 90 with a purchase"),
            Dimension("rfm_order_mean", "float", "money", "mean of the purchases with a price"),
            Dimension("rfm_order_max", "float", "money", "largest purchase"),
            Dimension("rfm_units_total", "int", "pieces", "bought, ever"),
            Dimension("rfm_first_purchase_ms", "int", "ms", "time of the first purchase, UTC"),
            Dimension("rfm_last_purchase_ms", "int", "ms", "time of the last purchase, UTC"),
            Dimension("rfm_customer_days", "float", "d", "time since the first purchase"),
            Dimension("rfm_interval_mean_days", "float", "d", "mean time between purchases"),
            Dimension("rfm_refunds_total", "int", "refunds", "ever"),
            Dimension("rfm_refunded_total", "float", "money", "given back, ever"),
            Dimension("rfm_refund_ratio", "float", "ratio", "refunds by purchases"),
        )
