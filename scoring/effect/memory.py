"""All that the tally remembers, and by what rule each part of it is bounded.

- of a message: what must be known when something becomes of it, for `HORIZON_MS` of Kafka's time,
  or its campaign's attribution window and `TOLD_LATE_MS` where that is longer;
- of a record: that it was counted, as long as the longest of these;
- of a customer: what comparisons need, for `scoring.effect.groups.MEASURED_MS`; and the segment, of
  the `SEGMENTS_LIMIT` customers of whom one was told last;
- of an hour: its figures, for `HOURS_MS` and for as long as a target of the campaign is about it.
  Then they are added to those of the hour 0, which stands for all that went before.

Names of customers are in ``segments`` and in the units of ``groups`` and ``trials``, nowhere else.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

from schemas.effect import Counted
from scoring.effect.groups import Groups

HOUR_MS: Final = 3_600_000
HORIZON_MS: Final = 9 * 86_400_000
TOLD_LATE_MS: Final = 2 * 86_400_000
HOURS_MS: Final = 62 * 86_400_000
SEGMENTS_LIMIT: Final = 1_000_000


class Shown(Struct, array_like=True):
    """What must be known of a message when something becomes of it."""

    came_ms: int
    campaign: str
    channel: str
    segment: str
    kept_ratio: float
    variant: str = ""


class Answer(Struct, array_like=True):
    """What became of a message, of which the message itself is still to come; without a customer.

    ``kind`` is that of a `schemas.learning.Reward` or a `schemas.outcome.Outcome`.
    """

    came_ms: int
    kind: str
    ts: int
    share: float = 0.0
    value: float = 0.0


class Trial(Struct, array_like=True):
    """An experiment since it was last changed: its figures by variant, and its groups."""

    since_ms: int
    groups: Groups
    counted: dict[str, Counted] = field(default_factory=dict)


class State(Struct):
    """What is kept across a restart; with the offsets up to which it has read."""

    offsets: dict[str, int] = field(default_factory=dict)
    came_ms: int = 0
    newest_ms: int = 0
    cells: dict[str, Counted] = field(default_factory=dict)
    shown: dict[int, Shown] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)
    waiting: dict[int, list[Answer]] = field(default_factory=dict)
    segments: dict[str, str] = field(default_factory=dict)
    groups: dict[str, Groups] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    before_pause: dict[str, Counted] = field(default_factory=dict)
    unattributed: int = 0
