"""What customers do: sessions of views that lead to a cart, and sometimes to a purchase.

Sessions are drawn by the block as arrays and merged in order of time. Memory is bounded by the
sessions that are under way at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jobs.market.catalogue import BRANDS_PER_CATEGORY, CATEGORIES, ITEMS_PER_BRAND, Catalogue
from jobs.market.customers import Population

ACTIONS: Final = (
    "identify", "login", "search", "view", "favourite",
    "cart", "cart_remove", "purchase", "refund", "share", "consent",
)  # fmt: skip
IDENTIFY, LOGIN, SEARCH, VIEW, FAVOURITE, CART, CART_REMOVE, PURCHASE, REFUND, SHARE, CONSENT = (
    range(len(ACTIONS))
)

ROW: Final = np.dtype(
    [("at", "f8"), ("customer", "i4"), ("item", "i4"), ("action", "i1"), ("detail", "i1")]
)
"""``detail`` is the quantity of a cart or purchase, the category searched for, or which consent
changed (see `jobs.market.render`)."""

Rows = NDArray[Any]

_BLOCK: Final = 256
_MAX_VIEWS: Final = 12
_GAP_MS: Final = 18_000.0
_BOT_GAP_MS: Final = 1_200.0
_UNDER_WAY: Final = 20_000
_PLACES: Final = 256  # of rows in a session, more than the longest has


class Behaviour:
    """Draws the rows of a population's sessions."""

    def __init__(self, population: Population) -> None:
        self._people = population
        sample = self._block(np.random.default_rng(0), np.zeros(2_048), None, 1.0)
        self._rows_per_session = len(sample) / 2_048

    def rows(
        self, rng: np.random.Generator, start_ms: int, rows_per_ms: float, introduce: bool
    ) -> Iterator[Rows]:
        """Endless blocks of rows in order of time, at about the density asked for.

        Sessions go faster than people do when more than some ten thousand would be under way at
        once. With ``introduce``, a customer's first session starts by saying who they are and
        what they consent to.
        """
        unknown = np.ones(self._people.size, dtype=bool) if introduce else None
        pace = min(1.0, _UNDER_WAY / (rows_per_ms * _GAP_MS))
        between_ms = self._rows_per_session / rows_per_ms
        begun, waiting = float(start_ms), np.zeros(0, ROW)
        while True:
            starts = begun + between_ms * np.arange(_BLOCK)
            begun += between_ms * _BLOCK
            drawn = self._block(rng, starts, unknown, pace)
            waiting = np.concatenate((waiting, drawn))
            ready = waiting["at"] < begun
            block, waiting = waiting[ready], waiting[~ready]
            yield block[np.argsort(block["at"], kind="stable")]

    def _block(
        self,
        rng: np.random.Generator,
        starts: NDArray[np.float64],
        unknown: NDArray[np.bool_] | None,
        pace: float,
    ) -> Rows:
        """All rows of the sessions that start at ``starts``, session by session."""
        people, sessions = self._people, np.arange(len(starts))
        who = people.visitors(rng, (starts // 3_600_000).astype(np.int64) % 24)
        bot, eager = people.bot[who], people.engagement[who]
        thrifty = people.price_sensitivity[who]

        def chance(ratio: float | NDArray[Any]) -> NDArray[np.int64]:
            return sessions[(rng.random(len(sessions)) < ratio) & ~bot]

        views = np.minimum(rng.geometric(0.26, len(who)), _MAX_VIEWS)
        views = np.where(bot, 3 * _MAX_VIEWS, views)
        seen = np.repeat(sessions, views)
        category = self._categories(rng, who, bot, seen)
        item = self._items(rng, who[seen], category, thrifty[seen])
        last = np.cumsum(views) - 1
        first = last + 1 - views
        wanted = item[last]

        turn = np.arange(len(seen)) - np.repeat(first, views)
        liked = np.flatnonzero((rng.random(len(seen)) < 0.08) & ~bot[seen])
        carts = chance(_sigmoid(0.6 * eager + 0.15 * views - 1.5))
        also = carts[(rng.random(len(carts)) < 0.4) & (views[carts] > 1)]
        decided = rng.random(len(carts))
        buys = decided < _sigmoid(0.5 * eager[carts] - 1.2 * thrifty[carts])
        bought, returned = carts[buys], carts[buys & (decided < 0.01)]
        removed = carts[decided > 0.9]
        searched, shared, changed = chance(0.2), chance(0.02), chance(0.003)
        new = sessions[:0] if unknown is None else sessions[unknown[who]]
        if unknown is not None:
            unknown[who] = False

        parts = [  # session, place in it, action, item, detail
            (new, 0, IDENTIFY, -1, 0),
            (chance(0.15), 1, LOGIN, -1, 0),
            (searched, 2, SEARCH, -1, category[first][searched]),
            (seen, 3 + 2 * turn, VIEW, item, 0),
            (seen[liked], 4 + 2 * turn[liked], FAVOURITE, item[liked], 0),
            (also, 199, CART, item[first[also]], 1),
            (carts, 200, CART, wanted[carts], rng.integers(1, 4, len(carts))),
            (removed, 201, CART_REMOVE, wanted[removed], 0),
            (bought, 202, PURCHASE, wanted[bought], rng.integers(1, 4, len(bought))),
            (returned, 203, REFUND, wanted[returned], 0),
            (shared, 204, SHARE, wanted[shared], 0),
            (changed, 205, CONSENT, -1, rng.integers(0, 6, len(changed))),
        ]
        return _assemble(rng, parts, starts, who, np.where(bot, _BOT_GAP_MS, _GAP_MS * pace))

    def _categories(
        self,
        rng: np.random.Generator,
        who: NDArray[np.int64],
        bot: NDArray[np.bool_],
        seen: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Categories of views: mostly the session's own, which is mostly a favourite."""
        mood = np.searchsorted((0.55, 0.8, 0.9), rng.random(len(who)))
        anything = rng.integers(0, len(CATEGORIES), len(who))
        favourite = self._people.favourites[who, np.minimum(mood, 2)]
        main = np.where((mood > 2) | bot, anything, favourite)
        strays = (rng.random(len(seen)) > 0.8) | bot[seen]
        return np.where(strays, rng.integers(0, len(CATEGORIES), len(seen)), main[seen])

    def _items(
        self,
        rng: np.random.Generator,
        who: NDArray[np.int64],
        category: NDArray[np.int64],
        thrifty: NDArray[np.float32],
    ) -> NDArray[np.int64]:
        """Items of views: half of the favourite brand; who minds prices looks at low ones."""
        own = (self._people.brand[who] + 3 * category) % BRANDS_PER_CATEGORY
        loyal = rng.random(len(who)) < 0.5
        slot = np.where(loyal, own, rng.integers(0, BRANDS_PER_CATEGORY, len(who)))
        rank = (rng.random(len(who)) ** (0.5 + 2 * thrifty) * ITEMS_PER_BRAND).astype(np.int64)
        return Catalogue.item(category, slot, rank)


def _assemble(
    rng: np.random.Generator,
    parts: list[tuple[Any, Any, int, Any, Any]],
    starts: NDArray[np.float64],
    who: NDArray[np.int64],
    gap_ms: NDArray[np.float64],
) -> Rows:
    """Put the parts of each session in their places and give them times."""
    session = np.concatenate([part[0] for part in parts])
    rows = np.zeros(len(session), ROW)
    place = np.zeros(len(session), np.int64)
    at = 0
    for sessions, places, action, items, details in parts:
        end = at + len(sessions)
        place[at:end], rows["action"][at:end] = places, action
        rows["item"][at:end], rows["detail"][at:end] = items, details
        at = end
    order = np.argsort(session * _PLACES + place, kind="stable")
    rows, session = rows[order], session[order]
    elapsed = np.cumsum(rng.exponential(gap_ms[session]))
    first = np.searchsorted(session, np.arange(len(starts)))
    rows["at"] = starts[session] + elapsed - elapsed[first][session]
    rows["customer"] = who[session]
    return rows


def _sigmoid(logit: NDArray[Any]) -> NDArray[Any]:
    ratio: NDArray[Any] = 1 / (1 + np.exp(-logit))
    return ratio
