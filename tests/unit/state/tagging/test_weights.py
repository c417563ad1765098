"""Inclinations fade by half in seven days, and the strongest are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.tagging.brands import BOUGHT_LIMIT, Brands
from state.tagging.categories import Categories
from state.tagging.weights import ACTION_WEIGHTS, LIMIT
from tests.facts import DAY, MONDAY, after, fact

_acts = st.lists(
    st.tuples(
        st.sampled_from(sorted(ACTION_WEIGHTS)),
        st.sampled_from(["shoes", "books", "toys"]),
        st.integers(0, 400 * DAY),
    ),
    max_size=30,
)


@given(_acts, st.integers(400 * DAY, 500 * DAY))
def test_a_weight_is_the_sum_of_its_faded_actions(
    acts: list[tuple[str, str, int]], now: int
) -> None:
    acts.sort(key=lambda act: act[2])
    categories = after(Categories(), [fact(action, at, category=c) for action, c, at in acts])
    for category in ("shoes", "books", "toys"):
        plain = sum(
            ACTION_WEIGHTS[action] * 0.5 ** ((now - at) / (7 * DAY))
            for action, name, at in acts
            if name == category
        )
        # What is a billionth of a view or less may be forgotten.
        assert categories.weight(category, MONDAY + now) == pytest.approx(plain, abs=1e-7)


def test_a_weight_halves_in_seven_days() -> None:
    categories = after(Categories(), [fact("purchase", category="shoes")])
    assert categories.weight("shoes", MONDAY) == pytest.approx(5)
    assert categories.weight("shoes", MONDAY + 7 * DAY) == pytest.approx(2.5)
    assert categories.dimensions(MONDAY + 14 * DAY)["category_1_weight"] == pytest.approx(1.25)


def test_a_late_action_weighs_what_it_weighs_by_its_own_time() -> None:
    late = after(
        Categories(), [fact("view", 70 * DAY, category="a"), fact("view", 63 * DAY, category="b")]
    )
    assert late.weight("b", MONDAY + 70 * DAY) == pytest.approx(0.5)


def test_a_leap_of_years_forgets_old_weights_and_overflows_nothing() -> None:
    categories = after(Categories(), [fact(category="old"), fact(at=30_000 * DAY, category="new")])
    assert categories.weight("new", MONDAY + 30_000 * DAY) == pytest.approx(1)
    assert "old" not in categories.weights
    assert categories.weight("new", 0) > 0, "a clock far behind gives a number, too"


def test_the_lightest_are_forgotten_and_equal_ones_stand_by_name() -> None:
    names = [f"c{number:02d}" for number in range(LIMIT)]
    crowd = [fact("cart", n, category=name) for n, name in enumerate(reversed(names))]
    passers_by = [fact("view", 100 + n, category=f"z{n}") for n in range(50)]
    categories = after(Categories(), [*crowd, *passers_by])
    assert set(names) <= set(categories.weights)
    same_time = after(Categories(), [fact(category=name) for name in "cab"])
    values = same_time.dimensions(MONDAY)
    assert [values[f"category_{n}"] for n in (1, 2, 3)] == ["a", "b", "c"]


def test_the_share_of_the_first_and_the_number_known() -> None:
    categories = after(
        Categories(), [fact("cart", category="shoes"), fact("view", category="books")]
    )
    values = categories.dimensions(MONDAY)
    assert values["category_top_share"] == pytest.approx(0.75)
    assert values["category_known_count"] == 2
    assert categories.total(MONDAY) == pytest.approx(4)
    assert categories.weight(None, MONDAY) == categories.weight("unheard", MONDAY) == 0


def test_the_brands_most_bought_are_counted_by_purchases_not_weight() -> None:
    bought = [fact("purchase", brand=brand) for brand in ("bolt", "ace", "bolt", "core", "dune")]
    looked_at = [fact("view", brand="window") for _ in range(50)]
    values = after(Brands(), [*bought, *looked_at]).dimensions(MONDAY)
    assert values["brand_1"] == "window"
    assert [values[f"brand_bought_{n}"] for n in (1, 2, 3)] == ["bolt", "ace", "core"]
    assert [values[f"brand_bought_{n}_count"] for n in (1, 2, 3)] == [2, 1, 1]


@given(st.lists(st.integers(0, BOUGHT_LIMIT - 1), max_size=120))
def test_top_brands_are_exact_up_to_the_limit(bought: list[int]) -> None:
    brands = after(Brands(), [fact("purchase", brand=f"b{n:02d}") for n in bought])
    names = sorted({f"b{n:02d}" for n in bought}, key=lambda b: (-bought.count(int(b[1:])), b))
    values = brands.dimensions(MONDAY)
    for place, name in enumerate(names[:3], 1):
        assert values[f"brand_bought_{place}"] == name
        assert values[f"brand_bought_{place}_count"] == bought.count(int(name[1:]))
