"""Tomorrow's money: the documents' case, concave responses, and what the prices say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.analytics.budget import Bounds, Line, Response, learn_response, pieces, split
from schemas.errors import UserMistake

DOCUMENTS = (
    ("feed", 50, 3.2, 10_000, 2_000),
    ("search", 80, 4.5, 6_000, 1_500),
    ("short video", 30, 2.8, 15_000, 3_000),
)


def linear(name: str, cost: float, roi: float, ceiling: float, least: float) -> Line:
    return Line("all", name, ((cost * ceiling, roi / cost),), cost * least)


def test_the_documents_case_brings_84_125_at_1_130_000():
    plan = split([linear(*row) for row in DOCUMENTS], 1_130_000)
    assert plan.value == pytest.approx(84_125)
    units = {name: plan.spend["all", name] / cost for name, cost, *_ in DOCUMENTS}
    assert units == pytest.approx({"feed": 10_000, "search": 2_250, "short video": 15_000})
    assert plan.price == pytest.approx(4.5 / 80)


responses = st.lists(
    st.builds(Response, st.floats(1, 100), st.floats(1, 50)), min_size=2, max_size=4
)


@settings(max_examples=40, deadline=None)
@given(responses, st.floats(10, 300))
def test_money_goes_where_the_next_unit_brings_most(some, budget):
    lines = [Line(f"c{at}", "sms", pieces(each, 200.0, 200)) for at, each in enumerate(some)]
    plan = split(lines, budget)
    assert sum(plan.spend.values()) <= budget + 1e-4
    inside = [
        each.gain / (each.scale + plan.spend[f"c{at}", "sms"])
        for at, each in enumerate(some)
        if 5 < plan.spend[f"c{at}", "sms"] < 195
    ]
    for slope in inside:  # marginal returns are equal where there is room both ways
        assert slope == pytest.approx(max(inside), rel=0.15)


@settings(max_examples=30, deadline=None)
@given(responses, st.floats(20, 200))
def test_the_price_is_what_one_more_unit_of_money_brings(some, budget):
    lines = [Line(f"c{at}", "sms", pieces(each, 100.0)) for at, each in enumerate(some)]
    step = 1e-3
    less, plan, more = (split(lines, budget + by) for by in (-step, 0, step))
    gains = ((plan.value - less.value) / step, (more.value - plan.value) / step)
    assert min(gains) - 1e-2 <= plan.price <= max(gains) + 1e-2


def test_least_and_most_of_a_channel_hold_over_all_campaigns_and_have_their_prices():
    lines = [
        Line("spring", "sms", ((100.0, 3.0),)),
        Line("summer", "sms", ((100.0, 2.5),)),
        Line("spring", "email", ((100.0, 1.0),)),
        Line("spring", "push", ((100.0, 0.5),)),
    ]
    plan = split(lines, 200.0, {"sms": Bounds(most=120.0), "push": Bounds(least=30.0)})
    assert plan.spend == {
        ("spring", "sms"): 100.0,
        ("summer", "sms"): 20.0,
        ("spring", "email"): 50.0,
        ("spring", "push"): 30.0,
    }
    assert plan.price == pytest.approx(1.0)
    assert plan.channel_prices["sms"] == pytest.approx(1.5)
    assert plan.channel_prices["push"] == pytest.approx(-0.5)


def test_a_response_is_learned_from_days_of_spending():
    rng = np.random.default_rng(1)
    truth = Response(40.0, 25.0)
    spent = rng.uniform(0, 200, 60)
    brought = [truth.value(x) + rng.normal(0, 1) for x in spent]
    found = learn_response(spent, brought)
    for x in (10, 50, 150):
        assert found.value(x) == pytest.approx(truth.value(x), rel=0.1)


@given(st.floats(0.1, 100), st.floats(0.1, 1_000), st.floats(1, 1e5))
def test_pieces_fall_and_end_at_the_ceiling_with_its_value(gain, scale, ceiling):
    response = Response(gain, scale)
    cut = pieces(response, ceiling)
    slopes = [slope for _, slope in cut]
    assert slopes == sorted(slopes, reverse=True)
    assert sum(width for width, _ in cut) == pytest.approx(ceiling)
    assert sum(w * s for w, s in cut) == pytest.approx(response.value(ceiling))


@pytest.mark.parametrize(
    ("lines", "budget", "channels", "words"),
    [
        ([], 1.0, None, "name at least one"),
        ([Line("a", "sms", ((1.0, 1.0),), 2.0)], 9.0, None, "above its ceiling"),
        ([Line("a", "sms", ((9.0, 1.0),), 5.0)], 1.0, None, "take 5; raise the budget"),
        ([Line("a", "sms", ((9.0, 1.0), (9.0, 2.0)))], 1.0, None, "rises the more is spent"),
        ([Line("a", "sms", ((9.0, math.nan),))], 1.0, None, "no number of 0 or more"),
        ([Line("a", "sms", ((9.0, 1.0),))], math.inf, None, "the budget is inf"),
        ([Line("a", "sms", ((9.0, 1.0),))], 5.0, {"sms": Bounds(8.0)}, "no plan for a budget"),
    ],
)
def test_plans_that_cannot_be_are_refused_in_words(lines, budget, channels, words):
    with pytest.raises(UserMistake, match=words):
        split(lines, budget, channels)


@pytest.mark.parametrize(
    ("spent", "brought", "words"),
    [
        ([0.0, 0.0, 5.0], [0.0, 0.0, 1.0], "spent on 1 days"),
        ([1.0, math.nan, 5.0], [0.0, 0.0, 1.0], "no number of 0 or more"),
    ],
)
def test_too_little_spending_teaches_nothing(spent, brought, words):
    with pytest.raises(UserMistake, match=words):
        learn_response(spent, brought)
