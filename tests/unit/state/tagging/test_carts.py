"""An item left in the cart for half an hour is an abandonment of that moment."""

from __future__ import annotations

import pytest

from state.tagging.carts import ABANDONED_LIMIT, OPEN_LIMIT, Carts
from tests.facts import DAY, HOUR, MINUTE, MONDAY, after, fact

SHOES = {"item": "shoes", "price": 40.0, "quantity": 2}


def as_of(carts: Carts, at: float) -> dict[str, object]:
    return dict(carts.dimensions(MONDAY + int(at)))


def test_time_alone_makes_an_abandonment() -> None:
    carts = after(Carts(), [fact("cart", **SHOES)])
    before, then = as_of(carts, 30 * MINUTE - 1), as_of(carts, 30 * MINUTE)
    assert (before["cart_open_count"], before["cart_abandoned_count_7d"]) == (1, 0)
    assert (then["cart_open_count"], then["cart_abandoned_count_7d"]) == (0, 1)
    assert before["cart_open_value"] == 80.0
    assert then["cart_last_abandoned_item"] == "shoes"
    assert then["cart_last_abandoned_value"] == 80.0
    assert then["cart_last_abandoned_age_s"] == 0.0


def test_what_a_later_fact_finds_and_what_time_alone_finds_is_the_same() -> None:
    waiting = after(Carts(), [fact("cart", **SHOES), fact("cart", 5 * MINUTE, item="hat")])
    found = after(
        Carts(),
        [
            fact("cart", **SHOES),
            fact("cart", 5 * MINUTE, item="hat"),
            fact("cart_remove", 2 * HOUR, item="nothing"),
        ],
    )
    assert as_of(waiting, 3 * HOUR) == as_of(found, 3 * HOUR)


@pytest.mark.parametrize("end", ["purchase", "cart_remove"])
@pytest.mark.parametrize(("at", "abandoned"), [(30 * MINUTE - 1, 0), (30 * MINUTE, 1)])
def test_a_purchase_or_removal_counts_when_it_comes_within_the_half_hour(
    end: str, at: int, abandoned: int
) -> None:
    carts = after(Carts(), [fact("cart", **SHOES), fact(end, at, item="shoes")])
    values = as_of(carts, DAY)
    assert values["cart_abandoned_count_7d"] == abandoned
    assert values["cart_bought_count_total"] == (end == "purchase" and not abandoned)


def test_putting_it_in_again_starts_the_half_hour_anew() -> None:
    carts = after(Carts(), [fact("cart", **SHOES), fact("cart", 20 * MINUTE, **SHOES)])
    assert as_of(carts, 49 * MINUTE)["cart_abandoned_count_7d"] == 0
    assert as_of(carts, 50 * MINUTE)["cart_abandoned_count_7d"] == 1


def test_an_item_can_be_abandoned_twice() -> None:
    carts = after(Carts(), [fact("cart", **SHOES), fact("cart", HOUR, **SHOES)])
    assert as_of(carts, 2 * HOUR)["cart_abandoned_count_total"] == 2


def test_a_purchase_that_names_no_item_is_of_the_whole_cart() -> None:
    carts = after(
        Carts(), [fact("cart", **SHOES), fact("cart", item="hat"), fact("purchase", MINUTE)]
    )
    assert as_of(carts, HOUR)["cart_abandoned_count_total"] == 0
    assert as_of(carts, HOUR)["cart_bought_count_total"] == 2


def test_a_cart_event_that_names_no_item_opens_nothing() -> None:
    assert as_of(after(Carts(), [fact("cart")]), HOUR)["cart_abandoned_count_total"] == 0


def test_abandonments_leave_the_window_after_seven_days_and_the_total_never() -> None:
    carts = after(Carts(), [fact("cart", **SHOES)])
    due = 30 * MINUTE
    assert as_of(carts, due + 7 * DAY - 1)["cart_abandoned_count_7d"] == 1
    assert as_of(carts, due + 7 * DAY)["cart_abandoned_count_7d"] == 0
    assert as_of(carts, due + DAY)["cart_abandoned_count_24h"] == 0
    carts.apply(fact("cart", 30 * DAY, item="hat"))
    assert as_of(carts, 31 * DAY)["cart_abandoned_count_7d"] == 1
    assert as_of(carts, 31 * DAY)["cart_abandoned_count_total"] == 2


def test_a_late_purchase_closes_no_cart_that_came_after_it() -> None:
    carts = after(Carts(), [fact("cart", HOUR, **SHOES), fact("purchase", MINUTE, item="shoes")])
    assert as_of(carts, 70 * MINUTE)["cart_open_count"] == 1


def test_a_late_cart_does_not_put_an_open_item_back_in_time() -> None:
    carts = after(Carts(), [fact("cart", 20 * MINUTE, **SHOES), fact("cart", 0, **SHOES)])
    assert as_of(carts, 40 * MINUTE)["cart_open_count"] == 1


def test_more_open_items_than_are_kept_count_as_abandoned_from_the_oldest() -> None:
    carts = after(Carts(), [fact("cart", n, item=f"i{n}") for n in range(OPEN_LIMIT + 3)])
    assert len(carts.open) == OPEN_LIMIT
    assert "i0" not in carts.open
    assert as_of(carts, HOUR)["cart_abandoned_count_total"] == OPEN_LIMIT + 3


def test_times_of_abandonments_are_kept_up_to_the_limit() -> None:
    facts = [fact("cart", n * HOUR, item="i") for n in range(ABANDONED_LIMIT + 10)]
    carts = after(Carts(), facts)
    assert len(carts.abandoned_ms) == ABANDONED_LIMIT
    assert carts.abandoned_total == ABANDONED_LIMIT + 9


def test_the_abandoned_part_of_what_was_decided() -> None:
    carts = after(
        Carts(), [fact("cart", **SHOES), fact("cart", item="hat"), fact("purchase", 9, item="hat")]
    )
    assert as_of(carts, MINUTE)["cart_abandoned_ratio"] == 0
    assert as_of(carts, HOUR)["cart_abandoned_ratio"] == 0.5
    assert as_of(Carts(), HOUR)["cart_abandoned_ratio"] is None
