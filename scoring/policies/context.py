"""The context of a decision, as coarse as it must be to be met often: 48 cases.

What a linear arm learns from, and the finest thing for which a mix is kept: customer segment by
purchases, part of the day, and the channel that the customer is in the habit of clicking.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas.outcome import CHANNELS, Channel
from state.profile import Profile
from state.tagging.channels import Channels
from state.tagging.rfm import Rfm

SEGMENTS: Final = ("never-bought", "bought-once", "bought-again")
PARTS: Final = ("night", "morning", "afternoon", "evening")
"""Six hours each, from midnight on."""


class Context(NamedTuple):
    """Places in `SEGMENTS` and `PARTS`, and the channel of habit, if there is one."""

    segment: int
    part: int
    habit: Channel | None

    @property
    def name(self) -> str:
        """A name for the case, to keep things by."""
        return f"{SEGMENTS[self.segment]}/{PARTS[self.part]}/{self.habit or 'none'}"

    def numbers(self, channel: Channel) -> tuple[float, ...]:
        """What the arm of a channel is told; the first segment and part are all zeros."""
        return (
            *(float(place == self.segment) for place in range(1, len(SEGMENTS))),
            *(float(place == self.part) for place in range(1, len(PARTS))),
            float(channel == self.habit),
        )


CONTEXTS: Final[tuple[Context, ...]] = tuple(
    Context(segment, part, habit)
    for segment in range(len(SEGMENTS))
    for part in range(len(PARTS))
    for habit in (None, *CHANNELS)
)


def context_of(profile: Profile, hour: int) -> Context:
    """The context of a customer at an hour of their day.

    The channel of habit is the one with the most clicks for each message, smoothed by a click in
    twenty; it has been clicked at least once.
    """
    orders = profile.tag(Rfm).orders_total
    channels = profile.tag(Channels)
    habit: Channel | None = None
    best = 0.0
    for channel in CHANNELS:
        clicked = channels.count(channel, "clicked")
        ratio = (clicked + 1) / (channels.count(channel, "delivered") + 20)
        if clicked and ratio > best:
            habit, best = channel, ratio
    return Context(min(orders, len(SEGMENTS) - 1), hour % 24 // 6, habit)
