"""Money: what a campaign may spend, and what of it is lent to each shard.

Budgets are written in the currency of the policy's ``channel_cost``; what is counted is whole
micro-units of it, so that sums are exact. A budget's days are calendar days of its zone, named
``2026-11-24``.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from schemas.event import SCHEMA_VERSION, Money
from schemas.outcome import Channel

MICRO: Final = 1_000_000

Micros = Annotated[int, Meta(ge=0, description="millionths of the currency's unit")]
Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="a local date")]


def micros(amount: float) -> int:
    """An amount of money in whole micro-units."""
    return round(amount * MICRO)


class Allowance(Struct, frozen=True):
    """The most that may be spent, in all and on a day; None is no limit."""

    total: Money | None = None
    per_day: Money | None = None


class Budget(Struct, frozen=True):
    """What a campaign may spend, over all channels and on each of those named.

    ``even`` opens a day's money little by little from midnight to midnight in ``zone`` (23 or 25
    hours when the clock changes); ``none`` opens it at midnight. A total has no pace of its own.
    """

    total: Money | None = None
    per_day: Money | None = None
    channels: dict[Channel, Allowance] = field(default_factory=dict)
    zone: Annotated[str, Meta(max_length=64, description="IANA time zone")] = "UTC"
    pace: Literal["even", "none"] = "even"

    def limits(self, channel: str) -> tuple[Allowance, Allowance]:
        """What binds a message through ``channel``: the campaign's allowance and the channel's."""
        own = self.channels.get(channel)  # type: ignore[call-overload]
        return Allowance(self.total, self.per_day), own or Allowance()

    def meters(self, channel: str) -> bool:
        """Whether a limit may bind a message through ``channel``."""
        return self.total is not None or self.per_day is not None or channel in self.channels


class Loans(Struct, frozen=True):
    """One channel's loans: day → shard → (lent, taken back), both since the day began.

    ``past`` is what was spent on days up to ``past_day``, which are closed for good. ``recall_ms``
    asks the shards for what they do not need; it grows each time.
    """

    days: dict[Day, dict[str, tuple[Micros, Micros]]] = field(default_factory=dict)
    past: Micros = 0
    past_day: str = ""
    recall_ms: int = 0


class Lease(Struct, frozen=True, tag_field="kind", tag="lease"):
    """What the keeper of a campaign's budget has lent to the shards; they spend no more than that.

    Every amount is absolute and only grows, so a record that is read twice, late or in the wrong
    order does no harm: records merge by the greater amount. All channels are in one record, since
    money taken back from one may be lent to another.
    """

    campaign_id: Annotated[str, Meta(min_length=1, max_length=64)]
    channels: dict[Channel, Loans] = field(default_factory=dict)
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION


class Ask(Struct, frozen=True):
    """What a shard tells the keeper of a campaign's budget; inside the stream, on no topic.

    ``wanted`` is the loan the shard would like to have in all (0 if it asks for nothing) and
    ``returned`` what it has given back in all; ``held`` is the loan it knows of, ``unit`` the
    cost of one message. With a wish comes the budget, since shards hear of campaigns first.
    """

    campaign_id: str
    channel: Channel
    day: Day
    shard: str
    wanted: int
    returned: int
    held: int
    unit: int
    at_ms: int
    budget: Budget | None = None
    budget_ms: int = 0
