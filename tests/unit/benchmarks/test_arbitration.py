"""The programme that arbitration is compared with, and the comparison."""

from __future__ import annotations

from itertools import product

import pytest

from benchmarks.arbitration import MOST, MOST_PROMO, Wanted, measure, optimum

CANDIDATES = [
    Wanted("a", 1, "favourite", 1.0),
    Wanted("a", 1, "cart-left", 0.8),
    Wanted("a", 2, "third-view", 3.0),
    Wanted("a", 3, "cart-left", 0.5),
    Wanted("b", 3, "cart-left", 0.25),
]


def by_trial(candidates: list[Wanted]) -> float:
    """The best of every choice there is."""
    best = 0.0
    for taken in product((False, True), repeat=len(candidates)):
        chosen = [each for each, take in zip(candidates, taken, strict=True) if take]
        users = {each.user_id for each in chosen}
        promo = [each.user_id for each in chosen if each.campaign_id != "cart-left"]
        moments = [(each.user_id, each.at_ms) for each in chosen]
        if (
            len(moments) == len(set(moments))
            and all(sum(user == each.user_id for each in chosen) <= MOST for user in users)
            and all(promo.count(user) <= MOST_PROMO for user in users)
        ):
            best = max(best, sum(each.value for each in chosen))
    return best


def test_the_optimum_is_that_of_trying_every_choice() -> None:
    assert optimum(CANDIDATES).worth == pytest.approx(by_trial(CANDIDATES)) == pytest.approx(4.05)


def test_money_that_is_short_has_the_price_of_what_it_could_not_buy() -> None:
    each_costs_one = [each._replace(cost=1.0) for each in CANDIDATES]
    short = optimum(each_costs_one, 1.5)
    assert (short.worth, short.price) == (pytest.approx(3.4), pytest.approx(0.8))
    assert optimum(each_costs_one, 9.0) == (pytest.approx(4.05), 0.0)


def test_arbitration_comes_near_the_optimum_and_never_above_it() -> None:
    found = measure(20_000)
    assert found["candidates"] > found["sends"] > 30
    assert 0 <= found["gap_ratio"] < 0.5
    assert found["price"] >= 1
    assert 0 <= found["priced_gap_ratio"] < 1
    assert 0 <= found["first_come_gap_ratio"] < 1
