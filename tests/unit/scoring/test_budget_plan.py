"""The budget over channels: the documents' case, and what holds for any."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.errors import UserMistake
from scoring.budget_plan import ChannelTerms, optimize_budget

DOCUMENTS = (
    ChannelTerms("feed", 50, 3.2, 10_000, 2_000),
    ChannelTerms("search", 80, 4.5, 6_000, 1_500),
    ChannelTerms("short video", 30, 2.8, 15_000, 3_000),
)

channels = st.lists(
    st.builds(
        lambda name, cost, roi, least, room: ChannelTerms(name, cost, roi, least + room, least),
        st.sampled_from("abcdef"),
        st.floats(0.5, 100),
        st.floats(0, 10),
        st.integers(0, 100),
        st.integers(0, 1_000),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda channel: channel.name,
)


def floor_of(some):
    return sum(channel.unit_cost * channel.least for channel in some)


def test_the_documents_table_brings_84_125_at_a_budget_of_1_130_000():
    plan = optimize_budget(DOCUMENTS, 1_130_000)
    assert plan.amounts == {"feed": 10_000, "search": 2_250, "short video": 15_000}
    assert plan.contribution == 84_125
    assert plan.cost == 1_130_000
    assert plan.worth_of_more == pytest.approx(4.5 / 80)


def test_the_documents_own_plan_is_worse_at_the_same_cost():
    amounts = (10_000, 6_000, 5_000)
    costs = sum(c.unit_cost * x for c, x in zip(DOCUMENTS, amounts, strict=True))
    brings = sum(c.roi * x for c, x in zip(DOCUMENTS, amounts, strict=True))
    assert (costs, brings) == (1_130_000, 73_000)
    assert optimize_budget(DOCUMENTS, costs).contribution > brings


@given(channels, st.floats(0, 1e5))
def test_a_plan_keeps_the_budget_every_ceiling_and_every_floor(some, spare):
    budget = floor_of(some) + spare
    plan = optimize_budget(some, budget)
    assert plan.cost <= budget + 1e-3
    for channel in some:
        assert channel.least - 1e-6 <= plan.amounts[channel.name] <= channel.ceiling + 1e-6


@given(channels, st.floats(0, 1e5))
def test_filling_the_best_ratio_first_brings_as_much(some, spare):
    """With one constraint the optimum is greedy, so a few lines can check the solver."""
    left, brings = spare, sum(channel.roi * channel.least for channel in some)
    for channel in sorted(some, key=lambda c: -c.roi / c.unit_cost):
        more = min(channel.ceiling - channel.least, left / channel.unit_cost)
        left -= more * channel.unit_cost
        brings += more * channel.roi
    plan = optimize_budget(some, floor_of(some) + spare)
    assert plan.contribution == pytest.approx(brings, rel=1e-6, abs=1e-3)


@given(channels, st.floats(0, 1e4), st.floats(0, 1e4))
def test_more_money_never_brings_less(some, spare, more):
    floor = floor_of(some)
    poorer, richer = (optimize_budget(some, floor + sum_) for sum_ in (spare, spare + more))
    assert richer.contribution >= poorer.contribution - 1e-3
    assert optimize_budget(some, floor + spare) == poorer


def test_more_money_is_worth_nothing_when_every_channel_is_full():
    plan = optimize_budget(DOCUMENTS, 1e9)
    assert plan.amounts == {channel.name: channel.ceiling for channel in DOCUMENTS}
    assert plan.worth_of_more == 0


@pytest.mark.parametrize(
    ("some", "budget", "words"),
    [
        ((), 1.0, "name at least one"),
        (DOCUMENTS, 100_000, "take 310,000; raise the budget"),
        (DOCUMENTS, -1.0, "0 or more"),
        (DOCUMENTS, math.nan, "0 or more"),
        ((replace(DOCUMENTS[0], unit_cost=-1.0),), 1e6, "'feed': unit_cost is -1.0"),
        ((replace(DOCUMENTS[0], roi=math.inf),), 1e6, "'feed': roi is inf"),
        ((replace(DOCUMENTS[0], least=20_000),), 1e7, "above its ceiling, 10,000; swap them"),
        ((DOCUMENTS[0], DOCUMENTS[0]), 1e7, "'feed' is named twice"),
    ],
)
def test_figures_that_cannot_be_are_refused_in_words(some, budget, words):
    with pytest.raises(UserMistake, match=words):
        optimize_budget(some, budget)
