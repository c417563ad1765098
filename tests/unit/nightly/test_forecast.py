import numpy as np
import pytest

from jobs.trainers.base import Setup
from jobs.trainers.forecast import (
    class_of,
    daily_inputs,
    days_left,
    fit_sales,
    fit_visitors,
    hourly_inputs,
    sales,
    visitors,
    week,
)
from jobs.trainers.learned import predict
from schemas.errors import UserMistake

DAY_MS = 86_400_000
SETUP = Setup("t", 1, seed=1, quick=True)
MONDAY_MS = 4 * DAY_MS  # the fifth of January 1970


def test_hours_are_foretold_better_than_by_the_day_before():
    rng = np.random.default_rng(1)
    season = 400 * (1.2 + np.sin(np.arange(24) * np.pi / 12))
    days = rng.poisson(np.tile(season, (15, 1))).astype(float)
    found = fit_visitors(visitors(days.ravel(), MONDAY_MS), SETUP)
    assert found.card.beats_baseline
    assert found.card.metrics.r2 > 0.91
    assert found.card.metrics.error.value < found.card.metrics.base_error
    ahead = predict(found.model, hourly_inputs(days, MONDAY_MS + 15 * DAY_MS))
    assert np.abs(ahead - season).sum() / season.sum() < 0.05


def test_items_are_foretold_better_than_by_their_mean_where_sales_move():
    rng = np.random.default_rng(2)
    rates = rng.gamma(0.6, 12, 600)
    trend = 1.15 ** np.arange(14)
    sold = rng.poisson(rates[:, None] * trend).astype(float)
    found = fit_sales(sales(sold, MONDAY_MS), SETUP)
    assert found.card.beats_baseline
    columns, rows, _ = found.tables["Error by class"]
    assert {row[0] for row in rows} == {"large", "middle", "small"}
    ours, theirs = columns.index("forecast's error"), columns.index("baseline's error")
    assert all(row[ours] < row[theirs] for row in rows if row[0] != "small")
    ahead = predict(found.model, daily_inputs(sold))
    assert np.corrcoef(ahead, rates)[0, 1] > 0.97


def test_what_large_items_sell_is_foretold_to_less_than_eight_per_cent():
    rng = np.random.default_rng(5)
    rates = rng.uniform(300, 600, 200)
    sold = rng.poisson(rates[:, None] * np.ones(14)).astype(float)
    found = fit_sales(sales(sold, MONDAY_MS), SETUP)
    assert found.card.metrics.error.value < 0.08


def test_what_sold_once_is_not_taken_for_what_sells_every_day():
    sold = np.zeros((50, 5))
    sold[0, 4] = 1
    assert np.exp(daily_inputs(sold)[0, 0]) < 0.2
    assert days_left(np.array([10.0]), np.array([2.0]))[0] == 5.0


def test_items_are_classed_by_what_they_sell_in_a_day():
    sold = np.array([[30.0, 20.0], [5.0, 5.0], [0.0, 1.0]])
    assert class_of(sold).tolist() == ["large", "middle", "small"]


def test_a_week_begins_on_monday_and_keeps_tomorrow_as_it_was_foretold():
    days = np.ones((14, 24)) * 10
    days[[5, 6, 12, 13]] = 20  # two weekends
    hours = np.array(week(np.arange(24.0), days, MONDAY_MS)).reshape(7, 24)
    assert hours[0].tolist() == list(range(24))  # the day after a Sunday
    assert hours[5].sum() > 1.4 * hours[0].sum()


def test_a_row_knows_nothing_of_its_own_day():
    days = np.random.default_rng(3).poisson(20, (6, 24)).astype(float)
    other = days.copy()
    other[4:] += 50
    mine = slice(0, 4 * 24)  # days 1 to 4, which see days 0 to 3
    assert np.array_equal(
        visitors(days.ravel(), 0).features[mine], visitors(other.ravel(), 0).features[mine]
    )


def test_too_few_days_are_refused():
    with pytest.raises(UserMistake, match="season"):
        visitors(np.ones(48), 0)
    with pytest.raises(UserMistake, match="forecast"):
        sales(np.ones((3, 2)), 0)
