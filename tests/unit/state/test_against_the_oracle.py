"""Tags folded event by event say what a plain look at all events says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.customer import Customer
from state.profile import catalogue
from tests import oracle
from tests.strategies import arrivals, fact_of, raw_events, take


@given(raw_events(), st.data())
def test_dimensions_are_those_of_the_oracle_in_any_order_of_arrival(
    events: list[dict[str, Any]], data: st.DataObject
) -> None:
    customer = Customer()
    take(customer, data.draw(arrivals([fact_of(event) for event in events])))
    newest = max((event["ts"] for event in events), default=oracle.DAY)
    now_ms = newest + data.draw(
        st.sampled_from([0, 1_799_999, 1_800_000, 5_000_000, 86_400_000, 8 * 86_400_000])
    )
    found = customer.profile().dimensions(now_ms)
    assert {name: found[name] for name in oracle.of_customer(events, now_ms)} == oracle.of_customer(
        events, now_ms
    )


def test_the_oracle_speaks_of_catalogued_dimensions_only() -> None:
    names = {dimension.name for dimension in catalogue()}
    assert set(oracle.of_customer([], oracle.DAY)) <= names


NOON = 1_700_000_000_000


def record(number: int, action: str, minute: float, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "user_id": "ann",
        "action": action,
        "ts": NOON + round(minute * 60_000),
        **fields,
    }


def test_the_oracle_itself_agrees_with_a_case_worked_by_hand() -> None:
    events = [
        record(1, "view", 0, item_id="i1", item_category="shoes"),
        record(2, "cart", 1, item_id="i1"),
        record(3, "cart", 2, item_id="i2"),
        record(4, "cart", 3, item_id="i3"),
        record(5, "purchase", 10, item_id="i1", brand="ace", price=2.5, quantity=2),
        record(6, "purchase", 32, item_id="i2", brand="bolt", price=1.0),
        record(7, "purchase", 40, brand="bolt"),
        record(3, "cart", 50, item_id="i9"),
    ]
    [(user, values)] = oracle.expected(events, NOON + 60 * 60_000).items()
    assert user == "ann"
    assert values["cart_bought_count_total"] == 1
    assert values["cart_abandoned_count_7d"] == 2
    assert values["cart_last_abandoned_item"] == "i3"
    assert values["cart_count_total"] == 3, "the second e3 is a duplicate"
    assert (values["brand_bought_1"], values["brand_bought_1_count"]) == ("bolt", 2)
    assert (values["brand_bought_2"], values["brand_bought_2_count"]) == ("ace", 1)
    assert values["rfm_monetary_total"] == pytest.approx(6.0)
    assert values["last_item_1"] == "i2"
    assert values["last_item_2"] == "i1"
    assert values["last_item_3"] == "i3"
