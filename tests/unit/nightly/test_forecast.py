import numpy as np
import pytest

from jobs.trainers.forecast import days_left, hourly, items
from schemas.errors import UserMistake


def test_hours_are_foretold_better_than_by_the_day_before():
    rng = np.random.default_rng(1)
    season = 40 * (1.2 + np.sin(np.arange(24) * np.pi / 12))
    found = hourly(rng.poisson(np.tile(season, 9)).astype(float))
    assert found.wins
    assert found.r2 > 0.85
    assert np.abs(np.array(found.ahead) - season).sum() / season.sum() < 0.1


def test_items_are_foretold_better_than_by_the_day_before_in_each_class():
    rng = np.random.default_rng(2)
    rates = rng.gamma(0.6, 12, 600)
    ahead, classes = items(rng.poisson(rates[:, None], (600, 10)).astype(float))
    assert {each.name for each in classes} == {"large", "middle", "small"}
    assert sum(each.items for each in classes) == 600
    assert all(each.model_error < each.season_error for each in classes)
    assert np.corrcoef(ahead, rates)[0, 1] > 0.97


def test_what_sold_once_is_not_taken_for_what_sells_every_day():
    sales = np.zeros((50, 5))
    sales[0, 4] = 1
    ahead, _ = items(sales)
    assert ahead[0] < 0.2
    assert days_left(np.array([10.0]), np.array([2.0]))[0] == 5.0


def test_too_few_days_are_refused():
    with pytest.raises(UserMistake, match="season"):
        hourly(np.ones(48))
    with pytest.raises(UserMistake, match="forecast"):
        items(np.ones((3, 2)))
