"""What the tags must say, computed the slow way from raw events.

Nothing of the product is used here: no contract, no fold, no state. Every figure is worked out for
one customer and one moment by looking at all their events again, so an error in the product is not
repeated here. The rules that it states are those that the catalogue of dimensions promises:

- an event counts once by its ``event_id``, the first to arrive;
- events are ordered by time, those of the same millisecond by the xxHash of their id;
- a window is a number of whole UTC buckets that ends with the one of ``now_ms``;
- an item in the cart is abandoned when half an hour goes by in which it is neither bought, taken
  out nor put in again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from xxhash import xxh3_64_intdigest

Event = Mapping[str, Any]

ACTIONS = (
    *("view", "search", "favourite", "cart", "cart_remove"),
    *("purchase", "refund", "login", "share", "other"),
)
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
HALF_AN_HOUR = 30 * MINUTE
BUCKETS = {"1h": (5 * MINUTE, 12), "24h": (HOUR, 24), "7d": (DAY, 7), "30d": (DAY, 30)}
MEMORY = 24
"""Last items and categories are those of this many last events."""


def expected(events: Iterable[Event], now_ms: int) -> dict[str, dict[str, Any]]:
    """User → dimension → value, as of ``now_ms``, for the dimensions that are worked out here."""
    seen: set[tuple[str, str]] = set()
    histories: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        key = event["user_id"], event["event_id"]
        if key not in seen:
            seen.add(key)
            histories[event["user_id"]].append(event)
    return {user: of_customer(history, now_ms) for user, history in histories.items()}


def of_customer(history: Iterable[Event], now_ms: int) -> dict[str, Any]:
    """Dimension → value for one customer's events, each given once."""
    events = sorted(
        history, key=lambda event: (time_of(event), xxh3_64_intdigest(event["event_id"].encode()))
    )
    return {
        **counters(events, now_ms),
        **last_things(events),
        **brands_bought(events),
        **cart(events, now_ms),
        **money(events, now_ms),
    }


def time_of(event: Event) -> int:
    """UTC milliseconds of an event's ``ts``, a number or RFC 3339."""
    ts = event["ts"]
    return ts if isinstance(ts, int) else round(datetime.fromisoformat(ts).timestamp() * 1_000)


def counters(events: list[Event], now_ms: int) -> dict[str, int]:
    """How often each action happened, by window and ever."""
    values: dict[str, int] = {}
    for action in ACTIONS:
        times = [
            time_of(event)
            for event in events
            if (event["action"] if event["action"] in ACTIONS else "other") == action
        ]
        for window, (width, length) in BUCKETS.items():
            newest = now_ms // width
            values[f"{action}_count_{window}"] = len(
                [time for time in times if newest - length < time // width <= newest]
            )
        values[f"{action}_count_total"] = len(times)
    return values


def last_things(events: list[Event]) -> dict[str, str | None]:
    """The last ten different items and five different categories."""
    values: dict[str, str | None] = {}
    for field, name, length in (("item_id", "item", 10), ("item_category", "category", 5)):
        found: list[str] = []
        for event in reversed(events[-MEMORY:]):
            value = event.get(field)
            if value is not None and value not in found:
                found.append(value)
        for place in range(length):
            values[f"last_{name}_{place + 1}"] = found[place] if place < len(found) else None
    values["last_action"] = events[-1]["action"] if events else None
    return values


def brands_bought(events: list[Event]) -> dict[str, Any]:
    """The three brands most bought, equal ones by name."""
    bought = Counter(
        event["brand"]
        for event in events
        if event["action"] == "purchase" and event.get("brand") is not None
    )
    top = sorted(bought, key=lambda brand: (-bought[brand], brand))[:3]
    values: dict[str, Any] = {}
    for place in range(3):
        brand = top[place] if place < len(top) else None
        values[f"brand_bought_{place + 1}"] = brand
        values[f"brand_bought_{place + 1}_count"] = bought[brand] if brand is not None else 0
    return values


def cart(events: list[Event], now_ms: int) -> dict[str, Any]:
    """What is open, what was abandoned, what was bought out of the cart."""
    still_open, bought = 0, 0
    abandoned: list[tuple[int, str]] = []
    for place, event in enumerate(events):
        item = event.get("item_id")
        if event["action"] != "cart" or item is None:
            continue
        due = time_of(event) + HALF_AN_HOUR
        following = _next_about(item, events[place + 1 :])
        if following is not None and time_of(following) < due:
            bought += following["action"] == "purchase"
        elif due <= now_ms:
            abandoned.append((due, item))
        else:
            still_open += 1
    last = max(abandoned, default=None)
    return {
        "cart_open_count": still_open,
        "cart_abandoned_count_24h": len([1 for due, _ in abandoned if due > now_ms - DAY]),
        "cart_abandoned_count_7d": len([1 for due, _ in abandoned if due > now_ms - 7 * DAY]),
        "cart_abandoned_count_total": len(abandoned),
        "cart_bought_count_total": bought,
        "cart_last_abandoned_item": None if last is None else last[1],
    }


def _next_about(item: str, following: list[Event]) -> Event | None:
    """The next event that ends the wait for an item, or begins it anew."""
    for event in following:
        about = event.get("item_id")
        if event["action"] == "cart" and about == item:
            return event
        if event["action"] in ("purchase", "cart_remove") and about in (item, None):
            return event
    return None


def money(events: list[Event], now_ms: int) -> dict[str, Any]:
    """How often and for how much the customer bought."""
    purchases = [event for event in events if event["action"] == "purchase"]
    today = now_ms // DAY
    values: dict[str, Any] = {
        "rfm_frequency_total": len(purchases),
        "rfm_monetary_total": sum(_paid(event) for event in purchases),
    }
    for window, days in (("30d", 30), ("90d", 90)):
        inside = [event for event in purchases if today - days < time_of(event) // DAY <= today]
        values[f"rfm_frequency_{window}"] = len(inside)
        values[f"rfm_monetary_{window}"] = sum(_paid(event) for event in inside)
    return values


def _paid(event: Event) -> float:
    quantity = event.get("quantity")
    return float(event.get("price") or 0.0) * (1 if quantity is None else quantity)
