"""Which brands the customer is inclined to, and which they buy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import field

from state.fact import Fact
from state.tagging.base import Dimension, Value
from state.tagging.weights import FadingWeights, heaviest

BOUGHT_LIMIT: Final = 16
TOP_BOUGHT: Final = 3

_LOOSE: Final = BOUGHT_LIMIT + 4


class Brands(FadingWeights):
    """Fading weights of brands, and purchases by brand.

    The three brands most bought are exact as long as the customer bought no more than
    `BOUGHT_LIMIT` different brands; beyond that, the least bought are forgotten.
    """

    PREFIX = "brand"
    NOUN = "brand"

    purchases: dict[str, int] = field(default_factory=dict)

    def apply_all(self, facts: Sequence[Fact]) -> None:
        """Weigh each fact's brand, and count it when it was bought."""
        self.add_all([fact.brand for fact in facts], facts)
        for fact in facts:
            brand = fact.brand
            if brand is not None and fact.action == "purchase":
                purchases = self.purchases
                purchases[brand] = purchases.get(brand, 0) + 1
                if len(purchases) > _LOOSE:
                    self.purchases = dict(heaviest(purchases, BOUGHT_LIMIT))

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """Those of the weights, and the three brands most bought."""
        values = super().dimensions(now_ms)
        top = heaviest(self.purchases, TOP_BOUGHT)
        for rank in range(TOP_BOUGHT):
            name, count = top[rank] if rank < len(top) else (None, 0)
            values[f"brand_bought_{rank + 1}"] = name
            values[f"brand_bought_{rank + 1}_count"] = count
        return values

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """Those of the weights, and name and purchases of the three most bought."""
        dimensions = [*super().catalogue()]
        for rank in range(1, TOP_BOUGHT + 1):
            dimensions += (
                Dimension(f"brand_bought_{rank}", "str", "brand", f"{rank}. brand by purchases"),
                Dimension(
                    f"brand_bought_{rank}_count", "int", "purchases", f"of the {rank}. brand, ever"
                ),
            )
        return tuple(dimensions)
