"""What to recommend: by people alike, by items alike, by factors, and by content for what is new.

An interaction weighs 0, 1 or 2: none, a click, a purchase. Customers are rows, items columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from schemas.errors import UserMistake

Matrix = Any
"""A sparse matrix of scipy's."""
Scores = NDArray[np.float64]

SHRINK: Final = 20.0
"""With n customers in common a similarity counts for n / (n + `SHRINK`) of it."""
NEIGHBOURS: Final = 50
KEPT: Final = 100
"""Similar items that are kept of each item."""
_CHUNK: Final = 1_024


class Interactions(Struct, frozen=True):
    """Weights 0, 1, 2 by customer and item."""

    matrix: Matrix
    users: list[str]
    items: list[str]


def interactions(events: Any, most_items: int = 20_000) -> Interactions:
    """The matrix of a table of user_id, item_id, action: the most that each did with each item.

    The ``most_items`` with most interactions are kept.

    Raises:
        UserMistake: nobody did anything with any item.
    """
    from scipy.sparse import csr_matrix

    told = events[events["item_id"].notna() & events["user_id"].notna()]
    told = told[told["action"].isin(("view", "favourite", "share", "cart", "purchase"))]
    if not len(told):
        raise UserMistake("nobody did anything with any item: nothing to recommend by")
    weight = np.where(told["action"] == "purchase", 2.0, 1.0)
    counts = told["item_id"].value_counts()
    if len(counts) > most_items:
        kept = set(
            counts.sort_index().sort_values(ascending=False, kind="stable").index[:most_items]
        )
        inside = told["item_id"].isin(kept).to_numpy()
        told, weight = told[inside], weight[inside]
    best = told.assign(weight=weight).groupby(["user_id", "item_id"], sort=True)["weight"].max()
    users = best.index.get_level_values(0).unique().sort_values()
    items = best.index.get_level_values(1).unique().sort_values()
    rows = users.get_indexer(best.index.get_level_values(0))
    columns = items.get_indexer(best.index.get_level_values(1))
    matrix = csr_matrix((best.to_numpy(), (rows, columns)), shape=(len(users), len(items)))
    return Interactions(matrix, list(users), list(items))


def pearson_items(matrix: Matrix, shrink: float = SHRINK, kept: int = KEPT) -> Matrix:
    """Items by items: Pearson's correlation over all customers, shrunk by how many did something
    with both; the ``kept`` most alike of each, positive ones only.
    """
    from scipy.sparse import csr_matrix, vstack

    columns = matrix.tocsc()
    n = columns.shape[0]
    # Sums of small whole numbers are exact, their means are not: of an item that all did the same
    # with, a variance made of means is not 0 but dust, and what is divided by dust is arbitrary.
    total = np.asarray(columns.sum(axis=0)).ravel()
    spread = np.sqrt(n * np.asarray(columns.multiply(columns).sum(axis=0)).ravel() - total**2)
    ones = columns.copy()
    ones.data = np.ones_like(ones.data)
    rows = []
    for begin in range(0, columns.shape[1], _CHUNK):
        part = slice(begin, min(begin + _CHUNK, columns.shape[1]))
        products = (columns[:, part].T @ columns).tocsr()
        common = (ones[:, part].T @ ones).tocsr()
        products.sort_indices()
        common.sort_indices()  # the same places: weights are positive
        left = np.repeat(np.arange(part.start, part.stop), np.diff(products.indptr))
        right = products.indices
        scale = spread[left] * spread[right]
        covariance = n * products.data - total[left] * total[right]
        likeness = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
        likeness *= common.data / (common.data + shrink)
        likeness[(left == right) | (likeness < 0)] = 0.0
        found = csr_matrix((likeness, right, products.indptr), shape=products.shape)
        rows.append(_strongest(found, kept))
    return vstack(rows).tocsr()


def cosine_users(matrix: Matrix, rows: Any, neighbours: int = NEIGHBOURS) -> Matrix:
    """The ``neighbours`` customers most alike, by cosine, for each of the ``rows`` customers."""
    from sklearn.preprocessing import normalize

    units = normalize(matrix)
    asked = np.asarray(rows)
    likeness = (units[asked] @ units.T).tolil()
    likeness[np.arange(len(asked)), asked] = 0.0
    return _strongest(likeness.tocsr(), neighbours)


def by_people(matrix: Matrix, rows: Any) -> Scores:
    """Scores of all items for some customers: what people alike did with them."""
    parts = [np.asarray(rows)[at : at + _CHUNK] for at in range(0, len(rows), _CHUNK)]
    return np.vstack([(cosine_users(matrix, part) @ matrix).toarray() for part in parts])


def by_items(matrix: Matrix, likeness: Matrix, rows: Any) -> Scores:
    """Scores of all items for some customers: how alike they are to what they did things with."""
    return np.asarray((matrix[np.asarray(rows)] @ likeness.T).toarray())


def by_factors(
    matrix: Matrix, factors: int = 32, rounds: int = 12, seed: int = 42
) -> Callable[[Any], Scores]:
    """Implicit ALS on one thread: gives the scores of all items for some customers."""
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=min(factors, *matrix.shape),
            iterations=rounds,
            regularization=0.05,
            alpha=10.0,
            random_state=seed,
            num_threads=1,
        )
        model.fit(matrix.astype(np.float32), show_progress=False)

    def scores(rows: Any) -> Scores:
        return np.asarray(model.user_factors[np.asarray(rows)] @ model.item_factors.T, dtype=float)

    return scores


def popularity(matrix: Matrix, rows: Any) -> Scores:
    """The same scores for everybody: how many did something with each item."""
    counts = np.diff(matrix.tocsc().indptr).astype(float)
    return np.broadcast_to(counts, (len(rows), len(counts)))


def content(categories: Sequence[str | None], prices: Any, bands: int = 5) -> Matrix:
    """Items by items: cosine of category and price band, for items that nobody has touched yet."""
    from scipy.sparse import csr_matrix
    from sklearn.preprocessing import normalize

    from jobs.analytics.encoding import one_hot

    kinds, _ = one_hot(categories, 512)
    cost = np.asarray(prices, dtype=float)
    known = np.isfinite(cost)
    edges = np.quantile(cost[known], np.linspace(0, 1, bands + 1)[1:-1]) if known.any() else []
    band = np.zeros((len(cost), bands))
    places = np.searchsorted(edges, cost[known], side="right")
    band[np.flatnonzero(known), places] = 0.5  # the category says more
    features = normalize(csr_matrix(np.hstack([kinds.astype(float), band])))
    likeness = (features @ features.T).tolil()
    likeness.setdiag(0.0)
    return _strongest(likeness.tocsr(), KEPT)


def filled_by_content(likeness: Matrix, like_content: Matrix, touched: Any, least: int) -> Matrix:
    """For items with fewer than ``least`` customers, what their content says instead."""
    from scipy.sparse import diags

    cold = (np.asarray(touched) < least).astype(float)
    return (diags(1 - cold) @ likeness + diags(cold) @ like_content).tocsr()


def top_lists(scores: Scores, known: Matrix | None, length: int) -> NDArray[np.int64]:
    """The places of the best items of each row, best first; -1 where there are no more with a
    score above 0. What is in ``known`` is left out. Equal scores go by place.
    """
    wanted = np.array(scores, dtype=float)
    if known is not None:
        rows, columns = known.nonzero()
        wanted[rows, columns] = 0.0
    length = min(length, wanted.shape[1])
    order = np.argsort(-wanted, axis=1, kind="stable")[:, :length]
    order[np.take_along_axis(wanted, order, axis=1) <= 0] = -1
    return np.asarray(order)


def _strongest(matrix: Matrix, kept: int) -> Matrix:
    """The ``kept`` largest of each row, without zeros."""
    from scipy.sparse import csr_matrix

    matrix = matrix.tocsr()
    matrix.eliminate_zeros()
    data, indices, indptr = [], [], [0]
    for row in range(matrix.shape[0]):
        part = slice(matrix.indptr[row], matrix.indptr[row + 1])
        values, places = matrix.data[part], matrix.indices[part]
        if len(values) > kept:
            best = np.lexsort((places, -values))[:kept]
            values, places = values[best], places[best]
        data.append(values)
        indices.append(places)
        indptr.append(indptr[-1] + len(values))
    return csr_matrix((np.concatenate(data), np.concatenate(indices), indptr), shape=matrix.shape)
