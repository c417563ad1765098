"""Where customers live, by where their phones say they are and what their neighbours told."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

NAMES: Final = ("agreement", "spread_log_km", "fixes_log", "near_log_km")
"""Share of the nearest neighbours who live in the region, how far a customer's fixes lie from their
usual position, how many there are, and how far the nearest neighbour is."""

NEIGHBOURS: Final = 15
EARTH_KM: Final = 6_371.0


class Around(Struct, frozen=True):
    """Of each customer: the region most of the nearest told to live in, and the inputs `NAMES`."""

    region: NDArray[Any]
    inputs: Numbers


def usual(users: NDArray[Any], count: int, lat: Numbers, lon: Numbers) -> tuple[Any, Any, Any]:
    """Each customer's usual position as a unit vector, its fixes, and their distance to it in km.

    The position is the fix with the least sum of distances to the others: it is where they were,
    and a journey does not move it. ``users`` are numbers below ``count``; who has no fix has NaN.
    """
    points = on_sphere(lat, lon)
    order = np.argsort(users, kind="stable")
    edges = np.searchsorted(users[order], np.arange(count + 1))
    home, spread = np.full((count, 3), np.nan), np.zeros(count)
    for user in np.flatnonzero(np.diff(edges)):
        mine = points[order[edges[user] : edges[user + 1]]][-_MOST:]
        apart = np.sqrt(((mine[:, None, :] - mine[None, :, :]) ** 2).sum(axis=2))
        best = int(apart.sum(axis=1).argmin())
        home[user] = mine[best]
        spread[user] = kilometres(apart[best]).mean()
    return home, np.diff(edges), spread


def around(
    home: Numbers, fixes: NDArray[Any], spread: Numbers, told: NDArray[Any], known: NDArray[Any]
) -> Around:
    """The region around each customer; ``known`` is who told theirs, who is nobody's neighbour of
    their own.
    """
    from scipy.spatial import cKDTree

    places = np.flatnonzero(known)
    tree = cKDTree(home[places])
    wanted = min(NEIGHBOURS + 1, len(places))
    apart, near = tree.query(home, k=wanted)
    apart, near = apart.reshape(len(home), wanted), near.reshape(len(home), wanted)
    words, codes = np.unique(told[places].astype(str), return_inverse=True)
    mine = places[near] == np.arange(len(home))[:, None]
    mine[~mine.any(axis=1), -1] = True  # the farthest, of who is not on the map
    votes = np.zeros((len(home), len(words)))
    rows = np.repeat(np.arange(len(home)), wanted).reshape(mine.shape)
    np.add.at(votes, (rows[~mine], codes[near][~mine]), 1.0)
    nearest = np.where(mine, np.inf, apart).min(axis=1)
    agreement = votes.max(axis=1) / np.maximum(1.0, votes.sum(axis=1))
    inputs = np.column_stack(
        (
            agreement,
            np.log1p(spread),
            np.log1p(fixes.astype(float)),
            np.log1p(kilometres(np.minimum(nearest, 2.0))),
        )
    )
    return Around(words[votes.argmax(axis=1)], inputs)


def on_sphere(lat: Numbers, lon: Numbers) -> Numbers:
    """Degrees as unit vectors, which know no date line."""
    north, east = np.radians(lat), np.radians(lon)
    return np.column_stack(
        (np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north))
    )


def kilometres(chord: Numbers) -> Numbers:
    """The way along the ground between points that are so far apart through a unit sphere."""
    found: Numbers = 2 * EARTH_KM * np.arcsin(np.clip(chord / 2, 0.0, 1.0))
    return found


_MOST: Final = 64
"""Fixes of a customer that are looked at, the newest."""
