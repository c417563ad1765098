"""How the customer takes what is sent to them, by channel."""

from __future__ import annotations

from typing import Final

from msgspec import field

from schemas.outcome import CHANNELS
from state.fact import Fact
from state.tagging.base import Dimension, Tag, Value, ratio, seconds_since

KINDS: Final = (
    "delivered",
    "opened",
    "clicked",
    "converted",
    "bounced",
    "unsubscribed",
    "complained",
)
_PLACE: Final = {kind: place for place, kind in enumerate(KINDS)}
_DELIVERED, _CLICKED = _PLACE["delivered"], _PLACE["clicked"]


class Channels(Tag):
    """By channel: outcomes in the order of `KINDS`, time of the last click, revenue.

    A channel is absent before its first outcome. An outcome of no known channel changes nothing.
    """

    LISTENS = frozenset()
    OUTCOMES = frozenset(KINDS)

    counts: dict[str, list[int]] = field(default_factory=dict)
    clicked_ms: dict[str, int] = field(default_factory=dict)
    revenue: dict[str, float] = field(default_factory=dict)

    def apply(self, fact: Fact) -> None:
        """Count the outcome under its channel."""
        channel = fact.channel
        if channel not in CHANNELS:
            return
        counts = self.counts.get(channel)
        if counts is None:
            counts = self.counts[channel] = [0] * len(KINDS)
        place = _PLACE[fact.action]
        counts[place] += 1
        if place == _CLICKED:
            self.clicked_ms[channel] = max(fact.ts, self.clicked_ms.get(channel, 0))
        if fact.value is not None:
            self.revenue[channel] = self.revenue.get(channel, 0.0) + fact.value

    def count(self, channel: str, kind: str) -> int:
        """Outcomes of a kind on a channel."""
        counts = self.counts.get(channel)
        return 0 if counts is None else counts[_PLACE[kind]]

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """Outcomes, click ratio, age of the last click and revenue of each channel."""
        values: dict[str, Value] = {}
        for channel in CHANNELS:
            counts = self.counts.get(channel) or [0] * len(KINDS)
            for kind, count in zip(KINDS, counts, strict=True):
                values[f"{channel}_{kind}_count"] = count
            values[f"{channel}_click_ratio"] = ratio(counts[_CLICKED], counts[_DELIVERED])
            values[f"{channel}_last_click_age_s"] = seconds_since(
                self.clicked_ms.get(channel, 0), now_ms
            )
            values[f"{channel}_revenue_total"] = self.revenue.get(channel, 0.0)
        return values

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """Ten figures for each channel."""
        dimensions: list[Dimension] = []
        for channel in CHANNELS:
            dimensions += (
                Dimension(
                    f"{channel}_{kind}_count", "int", "messages", f"{kind} by {channel}, ever"
                )
                for kind in KINDS
            )
            dimensions += (
                Dimension(f"{channel}_click_ratio", "float", "ratio", "clicks by deliveries"),
                Dimension(f"{channel}_last_click_age_s", "float", "s", "time since the last click"),
                Dimension(
                    f"{channel}_revenue_total", "float", "money", "value of conversions, ever"
                ),
            )
        return tuple(dimensions)
