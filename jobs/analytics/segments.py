"""Groups of customers alike in recency, frequency, money and lifetime value, with names that last.

The axes are logarithms, standardised, so that no one of them outweighs the others and a customer
who bought for a fortune does not make a group of their own. How many groups there are is computed:
at the elbow of the within-group sums of squares, checked by the silhouette.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from schemas.errors import UserMistake

Matrix = NDArray[np.float64]

AXES: Final = ("recency_days", "orders", "money", "clv")
SAMPLE: Final = 20_000
SILHOUETTE_SAMPLE: Final = 4_000
WARD_SAMPLE: Final = 2_000
TOLERANCE: Final = 0.05
"""How much worse than the best a silhouette at the elbow may be."""

SAME: Final = 1.0
"""A group nearer than this to one of yesterday's, in standard deviations, is the same group."""

STRATEGIES: Final[dict[tuple[bool, bool, bool], tuple[str, str, str]]] = {
    (True, True, True): (
        "champions",
        "buy often and much, and did so lately",
        "early access and thanks; no discount is needed",
    ),
    (True, True, False): (
        "regulars",
        "buy often, small orders, lately",
        "bundles and a free-postage threshold to raise the order",
    ),
    (True, False, True): (
        "promising-spenders",
        "few but large orders, lately",
        "a reason for the next order soon: what goes with what they bought",
    ),
    (True, False, False): (
        "newcomers",
        "few and small orders, lately",
        "a welcome series and a small coupon for the second order",
    ),
    (False, True, True): (
        "champions-at-risk",
        "bought often and much, but not lately",
        "win back in person, with the strongest offer that pays",
    ),
    (False, True, False): (
        "fading-regulars",
        "bought often, small orders, not lately",
        "a reminder of their favourites, at their best hour",
    ),
    (False, False, True): (
        "sleeping-spenders",
        "few but large orders, long ago",
        "one message about what is new in their category",
    ),
    (False, False, False): (
        "sleepers",
        "few and small orders, long ago",
        "cheap channels only, seldom; let them go",
    ),
}
"""(lately, often, much) → name, what it means, what to do."""


class Choice(Struct, frozen=True):
    """How many groups, and why. ``wcss`` and ``silhouettes`` are for the counts in ``tried``."""

    k: int
    elbow: int
    tried: tuple[int, ...]
    wcss: tuple[float, ...]
    silhouettes: tuple[float, ...]


class Group(Struct, frozen=True):
    """A segment: its centre on the axes, in the units of the axes, and what it is called."""

    name: str
    meaning: str
    strategy: str
    centre: tuple[float, ...]
    customers: int


class Grouping(Struct, frozen=True):
    """The night's segments; ``mean`` and ``deviation`` are of the logarithms of the axes."""

    axes: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    groups: tuple[Group, ...]

    def scaled(self, values: Any) -> Matrix:
        """Rows of the axes' values as points that distances are measured between."""
        return np.asarray((logs(values) - np.array(self.mean)) / np.array(self.deviation))

    def assign(self, values: Any) -> NDArray[np.int64]:
        """The place of the nearest group for each row."""
        centres = self.scaled([group.centre for group in self.groups])
        points = self.scaled(values)
        distances = ((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
        return np.asarray(distances.argmin(axis=1))


class Difference(Struct, frozen=True):
    """Whether a metric differs over groups: one-way ANOVA, and by ranks (Kruskal-Wallis)."""

    f: float
    p: float
    h: float
    p_ranks: float


def logs(values: Any) -> Matrix:
    """log(1 + x); none of the axes is negative."""
    return np.asarray(np.log1p(np.maximum(0.0, np.asarray(values, dtype=float))))


def standardised(values: Any, axes: Sequence[str] = AXES) -> tuple[Matrix, Matrix, Matrix]:
    """Points, means and deviations of the logarithms.

    Raises:
        UserMistake: a value is missing, or an axis is the same for all.
    """
    raw = np.asarray(values, dtype=float)
    if raw.ndim != 2 or not len(raw):
        raise UserMistake("no customers to group: nobody in the archive has bought anything")
    for place, name in enumerate(axes):
        if not np.isfinite(raw[:, place]).all():
            raise UserMistake(f"axis {name!r} has gaps; fill them first")
    logged = logs(raw)
    mean, deviation = logged.mean(axis=0), logged.std(axis=0)
    for name, spread in zip(axes, deviation, strict=True):
        if spread < 1e-9:
            raise UserMistake(f"axis {name!r} is the same for all customers; leave it out")
    return (logged - mean) / deviation, mean, deviation


def elbow(counts: Sequence[int], wcss: Sequence[float]) -> int:
    """Where the curve bends most: the count up to which each further group took away a much larger
    part of what was left than the next one does. ``counts`` go up by one.
    """
    gains = -np.diff(np.log(np.maximum(np.asarray(wcss, dtype=float), 1e-12)))
    return counts[1 + int(np.argmax(gains[:-1] - gains[1:]))]


def choose_k(points: Matrix, most: int = 10, seed: int = 42) -> Choice:
    """How many groups the points make: the elbow, unless another count separates them better.

    Raises:
        UserMistake: there are too few different points.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    rng = np.random.default_rng(seed)
    if len(points) > SAMPLE:
        points = points[rng.choice(len(points), SAMPLE, replace=False)]
    most = min(most, len(np.unique(points, axis=0)) - 1)
    if most < 3:
        raise UserMistake("fewer than four different customers: too few to find groups in")
    counts = list(range(1, most + 1))
    wcss, silhouettes = [], [0.0]
    for k in counts:
        fitted = KMeans(n_clusters=k, n_init=10, random_state=seed).fit(points)
        wcss.append(float(fitted.inertia_))
        if k > 1:
            size = min(SILHOUETTE_SAMPLE, len(points))
            silhouettes.append(
                float(silhouette_score(points, fitted.labels_, sample_size=size, random_state=seed))
            )
    bend = elbow(counts, wcss)
    best = counts[int(np.argmax(silhouettes))]
    fits = silhouettes[bend - 1] >= max(silhouettes) - TOLERANCE
    return Choice(bend if fits else best, bend, tuple(counts), tuple(wcss), tuple(silhouettes))


def group(
    values: Any,
    k: int,
    axes: Sequence[str] = AXES,
    before: Grouping | None = None,
    seed: int = 42,
) -> tuple[Grouping, NDArray[np.int64]]:
    """k-means of all customers; names are yesterday's where a group is the same.

    Raises:
        UserMistake: as `standardised`.
    """
    from sklearn.cluster import KMeans

    points, mean, deviation = standardised(values, axes)
    fitted = KMeans(n_clusters=k, n_init=10, random_state=seed).fit(points)
    centres = np.expm1(fitted.cluster_centers_ * deviation + mean)
    names = named(centres, values, axes, before)
    sizes = np.bincount(fitted.labels_, minlength=k)
    order = np.argsort([name for name, _, _ in names], kind="stable")
    place = np.empty(k, dtype=np.int64)
    place[order] = np.arange(k)
    groups = tuple(
        Group(name, meaning, strategy, tuple(map(float, centres[at])), int(sizes[at]))
        for at in order
        for name, meaning, strategy in (names[at],)
    )
    grouping = Grouping(tuple(axes), tuple(map(float, mean)), tuple(map(float, deviation)), groups)
    return grouping, place[fitted.labels_]


def named(
    centres: Matrix, values: Any, axes: Sequence[str], before: Grouping | None = None
) -> list[tuple[str, str, str]]:
    """Name, meaning and strategy of each centre; a name stays with its group from night to night.

    Lately, often and much are judged against the mean of the logarithms: where half of the buyers
    bought once, any group that did a little more would be above the middle one.
    """
    kept: dict[int, Group] = {}
    if before is not None and before.axes == tuple(axes):
        from scipy.optimize import linear_sum_assignment

        then = before.scaled([each.centre for each in before.groups])
        now = before.scaled(centres)
        apart = np.sqrt(((now[:, None, :] - then[None, :, :]) ** 2).sum(axis=2))
        for at, was in zip(*linear_sum_assignment(apart), strict=True):
            if apart[at, was] <= SAME:
                kept[int(at)] = before.groups[int(was)]
    taken = {each.name for each in kept.values()}
    middle = np.expm1(logs(values).mean(axis=0))
    place = {name: at for at, name in enumerate(axes)}
    result: list[tuple[str, str, str]] = []
    for at, centre in enumerate(centres):
        if at in kept:
            was = kept[at]
            result.append((was.name, was.meaning, was.strategy))
            continue
        lately = bool(centre[place["recency_days"]] <= middle[place["recency_days"]])
        often = bool(centre[place["orders"]] > middle[place["orders"]])
        much = bool(centre[place["money"]] > middle[place["money"]])
        stem, meaning, strategy = STRATEGIES[lately, often, much]
        name, number = stem, 2
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        result.append((name, meaning, strategy))
    return result


def agreement(points: Matrix, labels: Any, k: int, seed: int = 42) -> float:
    """How far hierarchical clustering (Ward) of a sample finds the same groups.

    The adjusted Rand index: 1 for the very same, 0 for chance.
    """
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.metrics import adjusted_rand_score

    known = np.asarray(labels)
    if len(points) > WARD_SAMPLE:
        rows = np.random.default_rng(seed).choice(len(points), WARD_SAMPLE, replace=False)
        points, known = points[rows], known[rows]
    found = AgglomerativeClustering(n_clusters=k, linkage="ward").fit_predict(points)
    return float(adjusted_rand_score(known, found))


def difference(metric: Any, labels: Any) -> Difference:
    """Whether a metric's mean, and its ranks, differ over the groups.

    Raises:
        UserMistake: fewer than two groups of two, or the metric is the same for all.
    """
    from scipy.stats import f_oneway, kruskal

    values, places = np.asarray(metric, dtype=float), np.asarray(labels)
    parts = [values[places == each] for each in np.unique(places)]
    parts = [part for part in parts if len(part) > 1]
    if len(parts) < 2:
        raise UserMistake("fewer than two groups with two customers: nothing to compare")
    if np.ptp(values) == 0:
        raise UserMistake("the metric is the same for all customers: nothing to compare")
    f, p = f_oneway(*parts)
    h, p_ranks = kruskal(*parts)
    return Difference(float(f), float(p), float(h), float(p_ranks))
