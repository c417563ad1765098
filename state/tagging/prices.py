"""What things cost that the customer looks at, puts into the cart and buys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import field

from state.fact import Fact
from state.tagging.base import Dimension, Tag, Value, ratio

STAGES: Final = {"view": "viewed", "cart": "carted", "purchase": "bought"}

_SUM, _COUNT, _MIN, _MAX, _LAST = range(5)


class Prices(Tag):
    """For each stage ``[sum, count, min, max, last]`` of the prices met; absent before the first.

    ``bargains`` counts purchases below the mean price viewed until then.
    """

    LISTENS = frozenset(STAGES)

    stages: dict[str, list[float]] = field(default_factory=dict)
    bargains: int = 0
    compared: int = 0

    def apply_all(self, facts: Sequence[Fact]) -> None:
        """Take each fact's price in."""
        stages = self.stages
        for fact in facts:
            price = fact.price
            if price is None:
                continue
            action = fact.action
            met = stages.get(action)
            if met is None:
                price = float(price)
                stages[action] = [price, 1.0, price, price, price]
            else:
                met[_SUM] += price
                met[_COUNT] += 1.0
                if price < met[_MIN]:
                    met[_MIN] = price
                elif price > met[_MAX]:
                    met[_MAX] = price
                met[_LAST] = price
            if action == "purchase":
                viewed = stages.get("view")
                if viewed is not None:
                    self.compared += 1
                    self.bargains += price * viewed[_COUNT] < viewed[_SUM]

    def mean(self, action: str) -> float | None:
        """The mean price of a stage of `STAGES`; None before the first price."""
        met = self.stages.get(action)
        return None if met is None else met[_SUM] / met[_COUNT]

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """Mean, least, greatest and last price of each stage, and the inclination to bargains."""
        values: dict[str, Value] = {}
        for action, stage in STAGES.items():
            met = self.stages.get(action)
            values[f"price_{stage}_count"] = 0 if met is None else int(met[_COUNT])
            values[f"price_{stage}_mean"] = self.mean(action)
            values[f"price_{stage}_min"] = None if met is None else met[_MIN]
            values[f"price_{stage}_max"] = None if met is None else met[_MAX]
            values[f"price_{stage}_last"] = None if met is None else met[_LAST]
        bought, viewed = self.mean("purchase"), self.mean("view")
        values["price_bought_to_viewed_ratio"] = (
            None if bought is None or viewed is None else ratio(bought, viewed)
        )
        values["price_bargain_share"] = ratio(self.bargains, self.compared)
        return values

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """Five figures for each of three stages, and two of the inclination to bargains."""
        dimensions: list[Dimension] = []
        for stage in STAGES.values():
            of = f"of the items {stage}"
            dimensions += (
                Dimension(f"price_{stage}_count", "int", "prices", f"known {of}"),
                Dimension(f"price_{stage}_mean", "float", "money", f"mean price {of}"),
                Dimension(f"price_{stage}_min", "float", "money", f"lowest price {of}"),
                Dimension(f"price_{stage}_max", "float", "money", f"highest price {of}"),
                Dimension(f"price_{stage}_last", "float", "money", f"last price {of}"),
            )
        return (
            *dimensions,
            Dimension(
                "price_bought_to_viewed_ratio", "float", "ratio", "mean bought by mean viewed price"
            ),
            Dimension(
                "price_bargain_share", "float", "ratio", "purchases below the mean viewed till then"
            ),
        )
