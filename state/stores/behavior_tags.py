"""The behaviour tags that Redis shows one by one, for readers that know nothing of our code."""

from __future__ import annotations

from typing import Final

from schemas.event import ACTIONS
from schemas.wire import encode
from state.tagging.base import Value
from state.tagging.brands import TOP_BOUGHT
from state.tagging.recent import CATEGORIES, ITEMS
from state.tagging.weights import TOP

LISTS: Final[dict[str, tuple[str, ...]]] = {
    "recent_categories": tuple(f"last_category_{rank + 1}" for rank in range(CATEGORIES)),
    "recent_items": tuple(f"last_item_{rank + 1}" for rank in range(ITEMS)),
    "top_brands": tuple(f"brand_bought_{rank + 1}" for rank in range(TOP_BOUGHT)),
    "favourite_categories": tuple(f"category_{rank + 1}" for rank in range(TOP)),
    "favourite_brands": tuple(f"brand_{rank + 1}" for rank in range(TOP)),
}
"""Field → the dimensions whose values it lists, best or newest first, as a JSON array."""

SINGLE: Final[tuple[str, ...]] = (
    *(f"{action}_count_total" for action in (*ACTIONS, "other")),
    *(f"{action}_count_7d" for action in ("view", "search", "favourite", "cart", "purchase")),
    "last_action",
    "cart_open_count",
    "cart_open_value",
    "cart_abandoned_count_7d",
    "cart_last_abandoned_item",
    "rfm_recency_days",
    "rfm_frequency_90d",
    "rfm_monetary_90d",
    "rfm_order_mean",
    "session_count",
    "habit_favourite_hour",
    "habit_favourite_weekday",
)
"""Dimensions with a field of the same name."""


def behavior_tags(dimensions: dict[str, Value]) -> list[str | bytes]:
    """Field, value, field, value, …; what is not known has no field, an empty list is ``[]``."""
    flat: list[str | bytes] = []
    for name, parts in LISTS.items():
        flat += (name, encode([value for part in parts if (value := dimensions[part]) is not None]))
    for name in SINGLE:
        value = dimensions[name]
        if value is not None:
            flat += (name, str(value))
    return flat
