"""What the customer did last: the raw material of event triggers and last items."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from msgspec import field

from state.fact import Fact
from state.tagging.base import Dimension, Tag, Value, seconds_since

RING: Final = 24
ITEMS: Final = 10
CATEGORIES: Final = 5

_LOOSE: Final = RING + 2  # trimmed by threes: a shift of four lists for each fact would show


class Recent(Tag):
    """The last `RING` facts in event-time order, as four lists of equal length."""

    times: list[int] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    items: list[str | None] = field(default_factory=list)
    categories: list[str | None] = field(default_factory=list)

    def apply_all(self, facts: Sequence[Fact]) -> None:
        """Put each fact in its place in time and forget the oldest."""
        times, actions, items, categories = self.times, self.actions, self.items, self.categories
        for fact in facts:
            ts = fact.ts
            if times and ts < times[-1]:
                place = bisect_right(times, ts)
                times.insert(place, ts)
                actions.insert(place, fact.action)
                items.insert(place, fact.item)
                categories.insert(place, fact.category)
            else:
                times.append(ts)
                actions.append(fact.action)
                items.append(fact.item)
                categories.append(fact.category)
            if len(times) > _LOOSE:
                del times[:-RING], actions[:-RING], items[:-RING], categories[:-RING]

    def matches(
        self,
        actions: frozenset[str] | None,
        since_ms: int,
        until_ms: int,
        item: str | None = None,
        category: str | None = None,
        enough: int = RING,
    ) -> int:
        """How many of the last `RING` facts lie in ``(since_ms, until_ms]`` and fit.

        None for ``actions``, ``item`` or ``category`` means any. It counts no further than to
        ``enough``.
        """
        times = self.times
        first = max(bisect_right(times, since_ms), len(times) - RING)
        end = bisect_right(times, until_ms)
        if actions is None and item is None and category is None:
            return min(max(0, end - first), enough)
        acted, items, categories = self.actions, self.items, self.categories
        count = 0
        for place in range(end - 1, first - 1, -1):  # what is sought is likely near
            if (
                (category is None or categories[place] == category)
                and (item is None or items[place] == item)
                and (actions is None or acted[place] in actions)
            ):
                count += 1
                if count == enough:
                    break
        return count

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """Last different items and categories, newest first, and the last action and search."""
        items = _latest(self.items[-RING:])
        categories = _latest(self.categories[-RING:])
        values: dict[str, Value] = {
            f"last_item_{rank + 1}": items[rank] if rank < len(items) else None
            for rank in range(ITEMS)
        }
        for rank in range(CATEGORIES):
            values[f"last_category_{rank + 1}"] = (
                categories[rank] if rank < len(categories) else None
            )
        values["last_action"] = self.actions[-1] if self.actions else None
        values["last_action_age_s"] = seconds_since(self.times[-1] if self.times else 0, now_ms)
        search = self._last_search()
        values["last_search_category"] = None if search is None else self.categories[search]
        values["last_search_age_s"] = (
            None if search is None else seconds_since(self.times[search], now_ms)
        )
        values["recent_items_count"] = len(items)
        values["recent_categories_count"] = len(categories)
        return values

    def _last_search(self) -> int | None:
        for place in range(len(self.actions) - 1, max(-1, len(self.actions) - RING - 1), -1):
            if self.actions[place] == "search":
                return place
        return None

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """Ten items, five categories, the last action and the last search."""
        items = (
            Dimension(
                f"last_item_{rank}", "str", "item id", f"different item touched, {rank}. newest"
            )
            for rank in range(1, ITEMS + 1)
        )
        categories = (
            Dimension(
                f"last_category_{rank}", "str", "category", f"category touched, {rank}. newest"
            )
            for rank in range(1, CATEGORIES + 1)
        )
        recent = f"in the last {RING} events"
        return (
            *items,
            *categories,
            Dimension("last_action", "str", "action", "the newest event's action"),
            Dimension("last_action_age_s", "float", "s", "time since the newest event"),
            Dimension("last_search_category", "str", "category", f"of the last search {recent}"),
            Dimension("last_search_age_s", "float", "s", f"time since the last search {recent}"),
            Dimension("recent_items_count", "int", "items", f"different items {recent}"),
            Dimension("recent_categories_count", "int", "categories", f"different ones {recent}"),
        )


def _latest(names: list[str | None]) -> list[str]:
    """Different names, newest first."""
    return list(dict.fromkeys(name for name in reversed(names) if name is not None))
