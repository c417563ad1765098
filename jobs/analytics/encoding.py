"""Words as numbers: one-hot, hashing, and the weight of a tag by TF-IDF."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import log
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

OTHER: Final = "(other)"


def one_hot(values: Sequence[str | None], most: int = 32) -> tuple[NDArray[Any], list[str]]:
    """A column of 0 and 1 for each of the ``most`` frequent values, and for the others together.

    Columns are in the order of their names; an absent value is 0 everywhere.
    """
    counts = Counter(value for value in values if value is not None)
    kept = sorted(name for name, _ in sorted(counts.items(), key=lambda p: (-p[1], p[0]))[:most])
    names = kept if len(kept) == len(counts) else [*kept, OTHER]
    place = {name: at for at, name in enumerate(names)}
    matrix = np.zeros((len(values), len(names)), dtype=np.int8)
    for row, value in enumerate(values):
        if value is not None:
            matrix[row, place.get(value, len(names) - 1)] = 1
    return matrix, names


def hashed(values: Iterable[Sequence[str]], bits: int = 10) -> NDArray[np.float64]:
    """Words into 2^``bits`` columns by a stable hash; one bit of it is the sign, so that words that
    meet in a column cancel out on average.
    """
    rows = list(values)
    matrix = np.zeros((len(rows), 1 << bits))
    for row, words in enumerate(rows):
        for word in words:
            digest = xxh3_64_intdigest(word.encode())
            matrix[row, digest & ((1 << bits) - 1)] += 1.0 if digest >> 63 else -1.0
    return matrix


def tf_idf(tf: float, customers: int, with_tag: int) -> float:
    """The weight of a tag: tf × ln(N / (df + 1)), never below 0: what all have says nothing.

    ``tf`` is the tag's share of the customer's own, ``with_tag`` how many of all have it.
    """
    return max(0.0, tf * log(customers / (with_tag + 1))) if customers else 0.0


def tag_weights(
    counts: Iterable[tuple[str, str, float]], top: int = 3
) -> dict[str, list[tuple[str, float]]]:
    """The heaviest tags of each customer, from (customer, tag, how often); heaviest first."""
    by_customer: defaultdict[str, dict[str, float]] = defaultdict(dict)
    having: Counter[str] = Counter()
    for customer, tag, count in counts:
        if count <= 0:
            continue
        own = by_customer[customer]
        if tag not in own:
            having[tag] += 1
        own[tag] = own.get(tag, 0.0) + count
    number = len(by_customer)
    return {customer: _heaviest(own, having, number, top) for customer, own in by_customer.items()}


def _heaviest(
    own: Mapping[str, float], having: Mapping[str, int], customers: int, top: int
) -> list[tuple[str, float]]:
    total = sum(own.values())
    weights = [(tag, tf_idf(count / total, customers, having[tag])) for tag, count in own.items()]
    return sorted((pair for pair in weights if pair[1] > 0), key=lambda p: (-p[1], p[0]))[:top]
