"""What is for sale: categories, each with brands, each with items in order of price."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.control import CatalogueItem

CATEGORIES: Final = (
    "shoes", "dresses", "shirts", "coats", "bags", "jewellery", "watches", "cosmetics",
    "phones", "laptops", "cameras", "audio", "games", "toys", "books", "music",
    "garden", "kitchen", "furniture", "lighting", "sports", "cycling", "outdoor", "groceries",
)  # fmt: skip
BRANDS: Final = (
    "alba", "boreal", "cirrus", "delta", "ember", "fjord", "gale", "harbour",
    "iris", "juniper", "kestrel", "lumen", "meadow", "north", "onyx", "petal",
    "quarry", "river", "sable", "tundra", "umber", "vista", "willow", "zephyr",
)  # fmt: skip
BRANDS_PER_CATEGORY: Final = 8
ITEMS_PER_BRAND: Final = 10

_PER_CATEGORY: Final = BRANDS_PER_CATEGORY * ITEMS_PER_BRAND


class Catalogue:
    """Items numbered so that category, brand and price rank are arithmetic on the number."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng((seed, 1))
        size = len(CATEGORIES) * _PER_CATEGORY
        level = np.exp(rng.normal(3.6, 0.9, len(CATEGORIES)))
        spread = np.sort(rng.lognormal(0.0, 0.6, (size // ITEMS_PER_BRAND, ITEMS_PER_BRAND)))
        self.price: NDArray[np.float64] = np.round(
            np.repeat(level, _PER_CATEGORY) * spread.ravel() + 0.99, 2
        )
        self.size = size

    @staticmethod
    def item(
        category: NDArray[np.int64], brand_slot: NDArray[np.int64], rank: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Numbers of the items at these places."""
        return category * _PER_CATEGORY + brand_slot * ITEMS_PER_BRAND + rank

    @staticmethod
    def item_id(item: int) -> str:
        """The id in events."""
        return f"i{item:05d}"

    @staticmethod
    def category(item: int) -> str:
        """The category's name."""
        return CATEGORIES[item // _PER_CATEGORY]

    @staticmethod
    def brand(item: int) -> str:
        """The brand's name."""
        slot = item % _PER_CATEGORY // ITEMS_PER_BRAND
        return BRANDS[(item // _PER_CATEGORY * 5 + slot) % len(BRANDS)]

    def price_of(self, item_id: str | None) -> float | None:
        """The price of an id, or None when it is not ours."""
        if item_id is None or item_id[:1] != "i" or not item_id[1:].isdecimal():
            return None
        item = int(item_id[1:])
        return float(self.price[item]) if item < self.size else None

    def records(self) -> list[CatalogueItem]:
        """The catalogue as control records."""
        return [
            CatalogueItem(
                id=self.item_id(item),
                category=self.category(item),
                brand=self.brand(item),
                price=float(self.price[item]),
                margin_ratio=0.3,
                stock=1_000,
            )
            for item in range(self.size)
        ]

    def fields(self, item: int) -> dict[str, Any]:
        """The item as an event tells of it."""
        return {
            "item_id": self.item_id(item),
            "item_category": self.category(item),
            "brand": self.brand(item),
            "price": float(self.price[item]),
        }
