"""How good recommendations would have been: made from what was before a moment, judged by after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from jobs.analytics.recommend import (
    Interactions,
    by_factors,
    by_items,
    by_people,
    interactions,
    pearson_items,
    popularity,
    top_lists,
)
from schemas.errors import UserMistake

LEAST_JUDGED: Final = 20
"""Customers with something new after the moment, below which a test says nothing."""


class Judged(Struct, frozen=True):
    """One way to recommend, by what customers did next.

    ``recall`` is the share of the new items that were among the first k, ``ndcg`` weighs a hit by
    its rank, ``coverage`` is the share of all items that anybody was shown, and ``novelty`` the
    mean surprise of what was shown, in bits: -log2 of the share of customers who knew it.
    """

    name: str
    recall: float
    ndcg: float
    coverage: float
    novelty: float


def offline_test(
    events: Any, k: int = 10, after: float = 0.8, most_users: int = 2_000, seed: int = 42
) -> tuple[list[Judged], int]:
    """Judge each way by the last part of the time; returns also how many customers judged it.

    Raises:
        UserMistake: too little happened after the moment.
    """
    moment = float(np.quantile(events["ts"], after))
    past = interactions(events[events["ts"] <= moment])
    future = events[(events["ts"] > moment) & events["item_id"].notna()]
    rows, wanted = _new_items(past, future)
    if len(rows) < LEAST_JUDGED:
        raise UserMistake(
            f"only {len(rows)} customers did something new after {after:.0%} of the time; "
            f"a test needs {LEAST_JUDGED}"
        )
    if len(rows) > most_users:
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), most_users, replace=False))
        rows, wanted = rows[chosen], [wanted[at] for at in chosen]
    matrix = past.matrix
    likeness = pearson_items(matrix)
    ways: dict[str, Callable[[], NDArray[np.float64]]] = {
        "popularity": lambda: popularity(matrix, rows),
        "people alike (cosine)": lambda: by_people(matrix, rows),
        "items alike (Pearson)": lambda: by_items(matrix, likeness, rows),
        "factors (ALS)": lambda: by_factors(matrix, seed=seed)(rows),
    }
    known = matrix[rows]
    share = np.maximum(np.diff(matrix.tocsc().indptr), 1) / matrix.shape[0]
    judged = [judge(name, top_lists(way(), known, k), wanted, share) for name, way in ways.items()]
    return judged, len(rows)


def judge(
    name: str, shown: NDArray[np.int64], wanted: list[set[int]], share: NDArray[np.float64]
) -> Judged:
    """Figures of lists of items (-1 for none) against what each customer did next."""
    recalls, gains = [], []
    discount = 1 / np.log2(np.arange(2, shown.shape[1] + 2))
    for row, targets in zip(shown, wanted, strict=True):
        hits = np.array([place in targets for place in row], dtype=float)
        recalls.append(hits.sum() / len(targets))
        gains.append(hits @ discount / discount[: min(len(targets), len(discount))].sum())
    places = shown[shown >= 0]
    return Judged(
        name,
        float(np.mean(recalls)),
        float(np.mean(gains)),
        len(np.unique(places)) / len(share),
        float(-np.log2(share[places]).mean()) if len(places) else 0.0,
    )


def _new_items(past: Interactions, future: Any) -> tuple[NDArray[np.int64], list[set[int]]]:
    """Rows of customers that did something with known items that were new to them, and which."""
    row_of = {name: at for at, name in enumerate(past.users)}
    column_of = {name: at for at, name in enumerate(past.items)}
    wanted: dict[int, set[int]] = {}
    for user, item in future[["user_id", "item_id"]].drop_duplicates().itertuples(index=False):
        row, column = row_of.get(user), column_of.get(item)
        if row is not None and column is not None:
            wanted.setdefault(row, set()).add(column)
    rows, targets = [], []
    for row in sorted(wanted):
        begin, end = past.matrix.indptr[row], past.matrix.indptr[row + 1]
        new = wanted[row] - set(past.matrix.indices[begin:end].tolist())
        if new:
            rows.append(row)
            targets.append(new)
    return np.array(rows, dtype=np.int64), targets
