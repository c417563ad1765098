"""Cleaning: what is dropped, filled and tamed, and that it is counted."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.analytics.cleaning import (
    drop_exact_duplicates,
    drop_near_duplicates,
    fill_missing,
    outlier_bounds,
    tame_outliers,
    to_utc_ms,
)
from jobs.analytics.encoding import OTHER, hashed, one_hot, tag_weights, tf_idf
from schemas.errors import UserMistake


def clicks(*rows: tuple[str, int, str | None]) -> pd.DataFrame:
    return pd.DataFrame(
        [(f"e{at}", user, "view", ts, item) for at, (user, ts, item) in enumerate(rows)],
        columns=["event_id", "user_id", "action", "ts", "item_id"],
    )


def test_a_retry_is_one_event():
    table = clicks(("ann", 1, "a"), ("ann", 2, "b"))
    kept, told = drop_exact_duplicates(pd.concat([table, table]), ("user_id", "event_id"))
    assert list(kept["event_id"]) == ["e0", "e1"]
    assert (told.before, told.after) == (4, 2)


def test_a_double_click_is_one_view_and_a_second_look_is_two():
    table = clicks(("ann", 0, "a"), ("ann", 900, "a"), ("ann", 5_000, "a"), ("bob", 950, "a"))
    kept, told = drop_near_duplicates(table)
    assert list(kept["event_id"]) == ["e0", "e2", "e3"]
    assert told.before - told.after == 1


def test_what_names_no_item_cannot_be_told_apart_and_is_kept():
    kept, _ = drop_near_duplicates(clicks(("ann", 0, None), ("ann", 1, None)))
    assert len(kept) == 2


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5_000), st.sampled_from("xy"))))
def test_dropping_duplicates_twice_drops_no_more_and_order_is_kept(rows):
    table = clicks(*rows)
    once, _ = drop_near_duplicates(table)
    assert list(once.index) == sorted(once.index)
    assert set(once["user_id"] + once["item_id"]) == set(table["user_id"] + table["item_id"])


def test_seconds_milliseconds_and_texts_become_one_form():
    given_ = [1_700_000_000, 1_700_000_000_000, "2023-11-14T22:13:20Z", "2023-11-14 23:13:20"]
    told, counts = to_utc_ms(given_, "Europe/Oslo")
    assert list(told) == [1_700_000_000_000] * 4
    assert counts.after == 4


def test_what_is_no_time_is_none_and_counted():
    told, counts = to_utc_ms(["yesterday", None, "2023-11-14 23:13:20", 12, math.nan])
    assert told.isna().all()
    assert (counts.before, counts.after) == (5, 0)


def test_missing_recency_is_filled_by_the_maximum_and_others_by_the_mean():
    table = pd.DataFrame({"recency": [3.0, None, 90.0], "age": [20.0, 40.0, None]})
    filled, told = fill_missing(table, ["age"], recency=["recency"])
    assert list(filled["recency"]) == [3.0, 90.0, 90.0]
    assert list(filled["age"]) == [20.0, 40.0, 30.0]
    assert [each.changed for each in told] == [1, 1]
    assert table["age"].isna().any(), "the table that was given stays as it was"


def test_the_nearest_rows_fill_better_than_the_mean_where_columns_go_together():
    x = np.linspace(0, 10, 50)
    table = pd.DataFrame({"x": x, "y": 3 * x})
    table.loc[40, "y"] = np.nan
    errors = {}
    for method in ("mean", "knn"):
        filled, _ = fill_missing(table, ["x", "y"], method, neighbours=2)
        errors[method] = abs(filled.loc[40, "y"] - 3 * x[40])
        assert (filled.drop(index=40) == table.drop(index=40)).all().all()
    assert errors["knn"] < 0.1 < errors["mean"]


def test_tukeys_fences_of_one_to_eleven_and_a_hundred():
    low, high = outlier_bounds([*range(1, 12), 100])
    q1, q3 = np.quantile([*range(1, 12), 100], [0.25, 0.75])
    assert (low, high) == (q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1))
    table = pd.DataFrame({"x": [*range(1, 12), 100]})
    tamed, [told] = tame_outliers(table, ["x"])
    assert tamed["x"].max() == high
    assert told.changed == 1
    dropped, [told] = tame_outliers(table, ["x"], "drop")
    assert list(dropped["x"]) == list(range(1, 12))
    assert (told.before, told.after) == (12, 11)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_what_is_winsorised_lies_within_the_fences_and_the_rest_is_untouched(values):
    low, high = outlier_bounds(values)
    tamed, _ = tame_outliers(pd.DataFrame({"x": values}), ["x"])
    for before, after in zip(values, tamed["x"], strict=True):
        assert after == (before if low <= before <= high else min(max(before, low), high))


def test_a_constant_column_has_no_outliers():
    assert outlier_bounds([5.0] * 9 + [7.0]) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"y": [1.0]}, "no column 'x'; there are y"),
        ({"x": ["a"]}, "holds object; it should hold numbers"),
        ({"x": [math.nan, math.nan]}, "no value at all"),
    ],
)
def test_a_column_that_is_missing_of_words_or_empty_is_refused(table, words):
    for clean in (lambda t: tame_outliers(t, ["x"]), lambda t: fill_missing(t, ["x"])):
        with pytest.raises(UserMistake, match=words):
            clean(pd.DataFrame(table))


def test_the_documents_tag_weight():
    assert tf_idf(1 / 3, 100_000, 10_000) == pytest.approx(0.767, abs=5e-4)


def test_what_everybody_has_weighs_nothing():
    weights = tag_weights([(f"u{n}", "tea", 1.0) for n in range(10)])
    assert all(not own for own in weights.values())


def test_a_rare_tag_outweighs_a_common_one_of_the_same_share():
    counts = [(f"u{n}", "tea", 1.0) for n in range(100)]
    weights = tag_weights([*counts, ("u0", "kites", 1.0), ("u1", "tea", 5.0)])
    assert [tag for tag, _ in weights["u0"]] == ["kites"]


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1), st.integers(1, 4))
def test_one_hot_has_one_one_for_each_value_that_is_there(values, most):
    matrix, names = one_hot(values, most)
    assert matrix.shape == (len(values), len(names))
    assert [int(row.sum()) for row in matrix] == [int(value is not None) for value in values]
    assert (OTHER in names) == (len({v for v in values if v is not None}) > most)


def test_hashing_is_stable_and_adds_up():
    both = hashed([["a", "b"], ["a"], ["b"]], bits=6)
    assert (both[0] == both[1] + both[2]).all()
    assert np.abs(both[1]).sum() == 1.0
