"""Recommendations against naive arithmetic, and against popularity on a planted market."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from jobs.analytics.judging import judge, offline_test
from jobs.analytics.recommend import (
    by_items,
    by_people,
    content,
    cosine_users,
    filled_by_content,
    interactions,
    pearson_items,
    top_lists,
)
from schemas.errors import UserMistake

weights = st.lists(
    st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0]), min_size=6, max_size=6), min_size=5, max_size=9
)


def market(users: int = 300, seed: int = 0) -> pd.DataFrame:
    """Two tastes of thirty items each; a customer keeps to one of them."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        taste = user % 2
        for ts in range(14):
            item = taste * 30 + int(30 * rng.random() ** 2)
            action = "purchase" if rng.random() < 0.2 else "view"
            rows.append((f"u{user:03d}", f"i{item:02d}", action, ts * 1_000 + user))
    return pd.DataFrame(rows, columns=["user_id", "item_id", "action", "ts"])


def test_an_interaction_weighs_two_for_a_purchase_and_one_for_a_click():
    table = pd.DataFrame(
        [
            ("ann", "a", "view"),
            ("ann", "a", "purchase"),
            ("ann", "b", "view"),
            ("bob", None, "view"),
        ],
        columns=["user_id", "item_id", "action"],
    )
    found = interactions(table)
    assert (found.users, found.items) == (["ann"], ["a", "b"])
    assert found.matrix.toarray().tolist() == [[2.0, 1.0]]


@settings(max_examples=40, deadline=None)
@given(weights)
def test_item_likeness_is_pearsons_over_all_customers_shrunk_by_those_in_common(rows):
    dense = np.array(rows)
    if not dense.any():
        return
    found = pearson_items(csr_matrix(dense), shrink=3.0).toarray()
    for i in range(dense.shape[1]):
        for j in range(dense.shape[1]):
            x, y = dense[:, i], dense[:, j]
            common = int(((x > 0) & (y > 0)).sum())
            known = i != j and x.std() > 0 and y.std() > 0 and common
            want = max(0.0, np.corrcoef(x, y)[0, 1]) * common / (common + 3) if known else 0.0
            assert found[i, j] == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("customers", range(5, 40))
def test_an_item_that_all_did_the_same_with_is_like_no_other(customers):
    dense = np.zeros((customers, 3))
    dense[:, 0] = 1.0
    dense[: customers // 2, 1] = 1.0
    dense[1:4, 2] = 2.0
    found = pearson_items(csr_matrix(dense)).toarray()
    assert not found[0].any()
    assert not found[:, 0].any()


@settings(max_examples=40, deadline=None)
@given(weights)
def test_people_alike_are_those_of_the_greatest_cosine(rows):
    dense = np.array(rows)
    found = cosine_users(csr_matrix(dense), [0], 3).toarray()[0]
    lengths = np.linalg.norm(dense, axis=1)
    want = np.zeros(len(dense))
    for other in range(1, len(dense)):
        if lengths[0] and lengths[other]:
            want[other] = dense[0] @ dense[other] / (lengths[0] * lengths[other])
    kept = sorted(want, reverse=True)[:3]
    assert sorted(found, reverse=True)[:3] == pytest.approx(kept)


def test_every_way_beats_popularity_where_there_are_tastes():
    judged, customers = offline_test(market())
    figures = {each.name: each for each in judged}
    assert customers > 100
    base = figures.pop("popularity")
    for name, each in figures.items():
        assert each.recall > base.recall, name
        assert each.ndcg > base.ndcg, name
        assert each.coverage > base.coverage, name


def test_a_recommendation_is_never_what_the_customer_has_already():
    found = interactions(market(60))
    rows = np.arange(60)
    for scores in (
        by_people(found.matrix, rows),
        by_items(found.matrix, pearson_items(found.matrix), rows),
    ):
        lists = top_lists(scores, found.matrix, 10)
        for row, places in enumerate(lists):
            has = set(found.matrix[row].indices)
            assert not has & {place for place in places if place >= 0}


def test_a_list_that_hits_at_once_has_gain_one_and_one_that_misses_none():
    share = np.array([0.5, 0.25, 0.25, 0.125])
    best = judge("best", np.array([[0, 1], [2, -1]]), [{0, 1}, {2}], share)
    assert (best.recall, best.ndcg, best.coverage) == (1.0, 1.0, 0.75)
    assert best.novelty == pytest.approx((1 + 2 + 2) / 3)
    worst = judge("worst", np.array([[3], [3]]), [{0}, {1}], share)
    assert (worst.recall, worst.ndcg) == (0.0, 0.0)


def test_a_new_item_is_recommended_with_others_of_its_category_and_price():
    like = content(["tea", "tea", "tea", "kite"], [5.0, 5.0, 500.0, 5.0])
    assert like[0, 1] > like[0, 2] > like[0, 3]
    cold = filled_by_content(csr_matrix((4, 4)), like, [0, 50, 50, 50], least=5)
    assert cold[0].nnz
    assert not cold[1].nnz


def test_nothing_to_recommend_by_is_refused_in_words():
    nothing = pd.DataFrame(columns=["user_id", "item_id", "action", "ts"])
    with pytest.raises(UserMistake, match="nobody did anything with any item"):
        interactions(nothing)
    with pytest.raises(UserMistake, match="a test needs"):
        offline_test(market(4))
