"""Figures by campaign, channel, segment and hour, and of every whole that they are part of."""

from __future__ import annotations

from collections.abc import Callable

from schemas.effect import Counted, effect_key
from scoring.effect.groups import SEP
from scoring.effect.memory import HOUR_MS

Place = tuple[str, str | None, str | None, int | None]
"""Campaign, channel, segment and hour of a cell; None for all of them."""


class Cells:
    """The cells that are kept, by key, and their sums, which follow from them.

    The hour 0 stands for all hours that were added to what was before (`fold`).
    """

    def __init__(self, kept: dict[str, Counted]) -> None:
        self._kept = kept
        self._sums: dict[Place, Counted] = {}
        self._hours: dict[str, set[int]] = {}
        for key, counted in kept.items():
            self._add_up(key, counted)

    def add(self, campaign: str, channel: str, segment: str, hour: int, counted: Counted) -> str:
        """Add to a cell; returns its key."""
        key = SEP.join((campaign, channel, segment, str(hour)))
        self._kept.setdefault(key, Counted()).add(counted)
        self._add_up(key, counted)
        return key

    def of(self, place: Place) -> Counted:
        """The figures of a cell or a whole; what nothing was counted of is all zeros."""
        return self._sums.get(place) or Counted()

    def by_hour(self, campaign: str, metric: str) -> dict[int, float]:
        """A metric of a campaign, by the time at which each hour began."""
        return {
            hour: float(getattr(self._sums[campaign, None, None, hour], metric))
            for hour in self._hours.get(campaign, ())
        }

    def fold(self, oldest_ms: Callable[[str], int]) -> tuple[list[str], dict[str, str]]:
        """Add the figures of hours before ``oldest_ms`` of their campaign to the hour 0.

        Returns the keys of effects that are no more, and the cells that are none, by key, each
        with that of the cell that it is in now.
        """
        gone: list[str] = []
        moved: dict[str, str] = {}
        for key in list(self._kept):
            campaign, channel, segment, hour = parts_of(key)
            if not 0 < hour < oldest_ms(campaign):
                continue
            counted = self._kept.pop(key)
            before = moved[key] = SEP.join((campaign, channel, segment, "0"))
            self._kept.setdefault(before, Counted()).add(counted)
            for place in ((campaign, channel, segment, 0), (campaign, None, None, 0)):
                self._sums.setdefault(place, Counted()).add(counted)
            for place in ((campaign, channel, segment, hour), (campaign, None, None, hour)):
                if self._sums.pop(place, None) is not None:
                    gone.append(effect_key(*place))
            self._hours[campaign].discard(hour)
            self._hours[campaign].add(0)
        return gone, moved

    def _add_up(self, key: str, counted: Counted) -> None:
        for place in places_of(key):
            self._sums.setdefault(place, Counted()).add(counted)
        campaign, _, _, hour = parts_of(key)
        self._hours.setdefault(campaign, set()).add(hour)


def hour_of(ts: int) -> int:
    """When the hour of a time began."""
    return ts - ts % HOUR_MS


def parts_of(key: str) -> tuple[str, str, str, int]:
    """Campaign, channel, segment and hour of a cell's key."""
    campaign, channel, segment, hour = key.split(SEP)
    return campaign, channel, segment, int(hour)


def places_of(key: str) -> tuple[Place, ...]:
    """A cell, and those that it is a part of."""
    campaign, channel, segment, hour = parts_of(key)
    return (
        (campaign, channel, segment, hour),
        (campaign, channel, None, None),
        (campaign, None, segment, None),
        (campaign, None, None, hour),
        (campaign, None, None, None),
    )
