"""Recency, frequency and money by whole UTC days."""

from __future__ import annotations

import pytest

from state.tagging.rfm import Rfm
from tests.facts import DAY, HOUR, MONDAY, after, fact


def test_windows_end_with_the_day_of_the_reader() -> None:
    rfm = after(
        Rfm(),
        [
            fact("purchase", 0, price=10.0),
            fact("purchase", 20 * HOUR, price=5.0, quantity=2),
            fact("purchase", 60 * DAY, price=7.0),
        ],
    )
    values = rfm.dimensions(MONDAY + 60 * DAY + HOUR)
    assert values["rfm_frequency_total"] == 3
    assert values["rfm_frequency_30d"] == 1
    assert values["rfm_monetary_30d"] == pytest.approx(7)
    assert values["rfm_monetary_90d"] == pytest.approx(27)
    assert values["rfm_purchase_days_90d"] == 2
    assert values["rfm_order_max"] == pytest.approx(10)
    assert values["rfm_units_total"] == 4
    assert values["rfm_interval_mean_days"] == pytest.approx(30)
    assert rfm.frequency("30d", MONDAY + 29 * DAY) == 2
    assert rfm.frequency("30d", MONDAY + 30 * DAY) == 0


def test_recency_counts_from_the_newest_purchase_whatever_came_late() -> None:
    rfm = after(Rfm(), [fact("purchase", 9 * DAY), fact("purchase", 2 * DAY)])
    values = rfm.dimensions(MONDAY + 10 * DAY)
    assert values["rfm_recency_days"] == pytest.approx(1)
    assert values["rfm_customer_days"] == pytest.approx(8)
    assert rfm.days == sorted(rfm.days)


def test_a_purchase_without_a_price_counts_but_moves_no_mean() -> None:
    rfm = after(Rfm(), [fact("purchase", price=8.0), fact("purchase")])
    values = rfm.dimensions(MONDAY)
    assert values["rfm_frequency_total"] == 2
    assert values["rfm_order_mean"] == pytest.approx(8)


def test_a_refund_is_counted_apart() -> None:
    rfm = after(Rfm(), [fact("purchase", price=8.0), fact("refund", price=8.0)])
    values = rfm.dimensions(MONDAY)
    assert values["rfm_monetary_total"] == pytest.approx(8)
    assert values["rfm_refunded_total"] == pytest.approx(8)
    assert values["rfm_refund_ratio"] == 1.0


def test_days_older_than_the_longest_window_are_forgotten() -> None:
    rfm = after(Rfm(), [fact("purchase", n * DAY, price=1.0) for n in range(200)])
    assert len(rfm.days) == len(rfm.orders) == len(rfm.amounts) == 90
    assert rfm.frequency("90d", MONDAY + 199 * DAY) == 90
    rfm.apply(fact("purchase", 0))
    assert len(rfm.days) == 90
