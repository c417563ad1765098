"""Segments: five planted groups are found, names last, and the value of customers is learned."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jobs.analytics.clv import Frequency, OrderValue, fit_frequency, fit_order_value, lifetime_value
from jobs.analytics.funnel import funnels
from jobs.analytics.history import buyers, clean_day, merged, of_day
from jobs.analytics.segments import (
    AXES,
    agreement,
    choose_k,
    difference,
    elbow,
    group,
    standardised,
)
from schemas.errors import UserMistake

CENTRES = np.array(
    [
        [3.0, 20.0, 4_000.0, 900.0],
        [5.0, 2.0, 60.0, 30.0],
        [90.0, 12.0, 1_500.0, 200.0],
        [200.0, 1.0, 20.0, 1.0],
        [20.0, 2.0, 2_500.0, 250.0],
    ]
)


def planted(seed: int = 0, size: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = np.concatenate(
        [np.exp(np.log(centre) + rng.normal(0, 0.15, (size, 4))) for centre in CENTRES]
    )
    return rows, np.repeat(np.arange(5), size)


@pytest.mark.parametrize("seed", range(3))
def test_five_planted_groups_are_found_by_the_elbow_and_by_the_silhouette(seed):
    rows, _ = planted(seed)
    choice = choose_k(standardised(rows)[0])
    assert (choice.k, choice.elbow) == (5, 5)
    assert choice.silhouettes[4] == max(choice.silhouettes)


def test_the_groups_are_the_planted_ones_and_ward_agrees():
    rows, truth = planted()
    grouping, labels = group(rows, 5)
    points = standardised(rows)[0]
    assert len({(a, b) for a, b in zip(truth, labels, strict=True)}) == 5
    assert agreement(points, labels, 5) > 0.95
    assert (grouping.assign(rows) == labels).all()
    assert {each.customers for each in grouping.groups} == {400}


def test_each_group_has_a_name_of_its_own_a_meaning_and_a_strategy():
    grouping, _ = group(planted()[0], 5)
    names = [each.name for each in grouping.groups]
    assert len(set(names)) == 5
    assert {"champions", "champions-at-risk"} <= set(names)
    assert all(each.meaning and each.strategy for each in grouping.groups)


def test_names_stay_with_their_groups_from_night_to_night():
    before, _ = group(planted(1)[0], 5)
    rows, _ = planted(2)
    shuffle = np.random.default_rng(3).permutation(len(rows))
    after, labels = group(rows[shuffle], 5, before=before)
    old = before.assign(rows[shuffle])
    names = {
        (before.groups[a].name, after.groups[b].name) for a, b in zip(old, labels, strict=True)
    }
    assert all(yesterday == today for yesterday, today in names)


def test_a_new_group_gets_a_new_name_and_the_others_keep_theirs():
    rows, truth = planted()
    before, _ = group(rows[truth != 3], 4)
    after, _ = group(rows, 5, before=before)
    assert {each.name for each in before.groups} < {each.name for each in after.groups}


def test_the_elbow_is_where_the_curve_bends_most():
    assert elbow([1, 2, 3, 4, 5, 6], [100, 60, 35, 5, 4.5, 4.1]) == 4


def test_value_differs_over_groups_that_differ_and_not_over_random_ones():
    rows, truth = planted()
    apart = difference(rows[:, 3], truth)
    assert apart.p < 1e-9
    assert apart.p_ranks < 1e-9
    chance = difference(rows[:, 3], np.random.default_rng(1).integers(0, 5, len(rows)))
    assert chance.p > 0.01


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda rows: rows[:0], "nobody in the archive has bought"),
        (lambda rows: np.where(np.arange(4) == 1, 1.0, rows), "'orders' is the same"),
        (lambda rows: np.where(np.arange(4) == 2, np.nan, rows), "'money' has gaps"),
    ],
)
def test_customers_that_cannot_be_grouped_are_refused_in_words(spoil, words):
    with pytest.raises(UserMistake, match=words):
        standardised(spoil(planted()[0]))


def test_one_group_or_one_value_is_nothing_to_compare():
    with pytest.raises(UserMistake, match="fewer than two groups"):
        difference([1.0, 2.0, 3.0], [0, 0, 0])
    with pytest.raises(UserMistake, match="the same for all"):
        difference([2.0] * 4, [0, 0, 1, 1])


def shoppers(n: int, seed: int, r=0.8, alpha=30.0, a=0.9, b=2.5):
    """Customers who live by BG/NBD."""
    rng = np.random.default_rng(seed)
    rate, leave = rng.gamma(r, 1 / alpha, n), rng.beta(a, b, n)
    age = rng.uniform(60, 400, n)
    repeats, last, now = np.zeros(n), np.zeros(n), np.zeros(n)
    alive = np.ones(n, dtype=bool)
    for _ in range(300):
        now = now + rng.exponential(1 / rate)
        buys = alive & (now <= age)
        repeats += buys
        last = np.where(buys, now, last)
        alive = buys & (rng.random(n) > leave)
    return repeats, last, age


def test_the_published_example_of_bg_nbd():
    """Fader and Hardie's worked example on CDNOW: 1.226 repeat purchases in the next 39 weeks."""
    cdnow = Frequency(0.243, 4.414, 0.793, 2.426)
    assert cdnow.expected(39, 2, 30.43, 38.86) == pytest.approx(1.226, abs=5e-4)


def test_bg_nbd_of_customers_who_are_all_alike_is_still_a_number():
    known = Frequency(0.243, 4.414, 0.793, 2.426)
    x, age = np.arange(8.0), np.full(8, 30.0)
    averaged = known._averaged(39, x, known.alpha + age) * known.alive(x, age, age)
    assert averaged == pytest.approx(known.expected(39, x, age, age), rel=5e-3)
    alike = Frequency(18_577.7, 227_569.8, 0.0413, 102.956)  # the rate is 0.0816 a day, for all
    left = alike.expected(90, x, age, age)
    assert (left > 0.9 * 90 * 0.0816 * alike.alive(x, age, age)).all()
    assert (left < 90 * 0.0817).all()


def test_bg_nbd_finds_the_parameters_it_was_drawn_from():
    found = fit_frequency(*shoppers(20_000, 1))
    for name, truth in (("r", 0.8), ("alpha", 30.0), ("a", 0.9), ("b", 2.5)):
        assert getattr(found, name) == pytest.approx(truth, rel=0.15), name


def test_the_longer_the_silence_the_less_likely_a_customer_is_still_there():
    model = Frequency(0.8, 30.0, 0.9, 2.5)
    alive = model.alive([5, 5, 5], [300, 200, 50], [300, 300, 300])
    assert alive[0] > alive[1] > alive[2] > 0


def test_gamma_gamma_finds_its_mean_and_pulls_few_orders_towards_it():
    rng = np.random.default_rng(2)
    orders = rng.integers(2, 9, 5_000)
    nu = rng.gamma(4.0, 1 / 60.0, 5_000)
    mean = rng.gamma(6.0 * orders, 1 / (nu * orders))
    model = fit_order_value(orders, mean)
    middle = model.p * model.v / (model.q - 1)
    assert middle == pytest.approx(6.0 * 60.0 / 3.0, rel=0.05)
    few, many = model.expected([1, 50], [400.0, 400.0])
    assert middle < few < many < 400


def test_value_is_never_below_nothing_and_grows_with_orders():
    model, worth = Frequency(0.8, 30.0, 0.9, 2.5), OrderValue(6.0, 4.0, 60.0)
    values = lifetime_value(
        model, worth, 90, repeats=[0, 1, 6], last=[0, 90, 95], age=[100, 100, 100],
        orders=[1, 2, 7], mean=[100.0, 100.0, 100.0],
    )  # fmt: skip
    assert 0 <= values[0] < values[1] < values[2]


@pytest.mark.parametrize(
    ("repeats", "last", "age", "words"),
    [
        ([1] * 9, [1] * 9, [2] * 9, "9 customers bought twice"),
        ([1] * 60, [3] * 60, [2] * 60, "did a clock run backwards"),
        ([1] * 59 + [np.nan], [1] * 60, [2] * 60, "with gaps"),
    ],
)
def test_histories_that_cannot_be_are_refused(repeats, last, age, words):
    with pytest.raises(UserMistake, match=words):
        fit_frequency(repeats, last, age)


def test_orders_that_are_all_worth_the_same_teach_nothing():
    with pytest.raises(UserMistake, match="worth the same"):
        fit_order_value([3] * 100, [20.0] * 100)


def day_of_events(*rows: tuple[str, str, int, str | None, float | None]) -> pd.DataFrame:
    table = pd.DataFrame(
        [
            (f"{user}-{at}", user, action, ts, item, None, price, None)
            for at, (user, action, ts, item, price) in enumerate(rows)
        ],
        columns=["event_id", "user_id", "action", "ts", "item_id", "item_category", "price",
                 "quantity"],
    )  # fmt: skip
    return table.astype({"price": float, "quantity": float})


DAY = day_of_events(
    ("ann", "view", 10_000, "a", 5.0),
    ("ann", "cart", 20_000, "a", 5.0),
    ("ann", "purchase", 30_000, "a", 5.0),
    ("ann", "view", 40_000, "b", 5.0),
    ("bob", "cart", 10_000, "a", 5.0),
    ("bob", "view", 20_000, "a", 5.0),
    ("bob", "purchase", 30_000, "b", 7.0),
    ("cid", "tags", 30_000, None, None),
)


def test_a_day_makes_one_row_for_each_customer():
    table = of_day(clean_day(DAY, "2026-11-01")[0])
    assert list(table.index) == ["ann", "bob"], "what the night wrote is nothing that they did"
    assert dict(table.loc["ann", ["events", "views", "orders", "money"]]) == {
        "events": 4, "views": 2, "orders": 1, "money": 5.0,
    }  # fmt: skip


def test_a_funnel_counts_what_was_viewed_first_then_put_into_the_cart_then_paid():
    table = of_day(clean_day(DAY, "2026-11-01")[0])
    assert list(table.loc["ann", ["seen", "kept", "paid"]]) == [2, 1, 1]
    assert list(table.loc["bob", ["seen", "kept", "paid"]]) == [1, 0, 0]
    everybody, *by_segment = funnels(table, pd.Series({"ann": "champions"}))
    assert (everybody.viewed, everybody.carted, everybody.paid) == (3, 1, 1)
    assert [each.segment for each in by_segment] == ["champions", "no-purchase"]
    assert everybody.cart_drop == pytest.approx(2 / 3)
    assert everybody.pay_drop == 0.0


def test_two_days_merged_are_the_days_read_at_once_but_for_the_funnel():
    later = DAY.assign(ts=DAY["ts"] + 86_400_000, event_id="n" + DAY["event_id"])
    table = merged(of_day(clean_day(each, "d")[0]) for each in (DAY, later))
    assert table.loc["ann", "orders"] == 2
    assert table.loc["ann", "order_days"] == 2
    assert table.loc["ann", "first_order_ms"] == 30_000
    assert table.loc["ann", "last_order_ms"] == 86_430_000
    bought = buyers(table, 2 * 86_400_000)
    assert bought.loc["ann", "last"] == 1.0
    assert bought.loc["ann", "repeats"] == 1


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t[:0], "no events at all"),
        (lambda t: t.drop(columns="price"), "no column price"),
        (lambda t: t.assign(ts=t["ts"].astype(float)), "ts holds float64"),
        (lambda t: t.assign(price=-1.0), "no amount of money"),
    ],
)
def test_a_day_that_cannot_be_is_refused_in_words(spoil, words):
    with pytest.raises(UserMistake, match=words):
        clean_day(spoil(DAY), "2026-11-01")


def test_a_purchase_after_the_night_is_refused():
    with pytest.raises(UserMistake, match="clock run ahead"):
        buyers(of_day(clean_day(DAY, "d")[0]), 20_000)


def test_the_axes_are_the_documents():
    assert AXES == ("recency_days", "orders", "money", "clv")
