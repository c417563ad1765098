"""What campaigns brought: the contract of ``beckon.effects.v1``, of reports and the Redis view."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from schemas.event import SCHEMA_VERSION

MISMATCH_P: Final = 0.001
"""Below this, groups of such sizes are taken for wrong (`Effect.sample_ratio_p`)."""


class Counted(Struct):
    """What happened, added up. Each thing counts in the hour in which it happened, by event time.

    ``conversions`` are the shares of orders that are credited, less what was given back;
    ``revenue`` is their value. ``cost`` is what the messages cost, and ``margin`` what the shop
    keeps of the revenue by the campaign's margin ratio and the discount given, less that cost.
    """

    sends: int = 0
    held_out: int = 0
    delivered: int = 0
    opened: int = 0
    bounced: int = 0
    clicked: int = 0
    expired: int = 0
    conversions: float = 0.0
    revenue: float = 0.0
    cost: float = 0.0
    margin: float = 0.0
    unsubscribed: int = 0
    complained: int = 0

    def add(self, other: Counted) -> None:
        """Add all that another counted."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def roi(self) -> float:
        """Revenue over cost; 0 at no cost."""
        return self.revenue / self.cost if self.cost > 0 else 0.0

    def per_send(self, name: str) -> float:
        """A count for each message that was sent; 0 without one."""
        return float(getattr(self, name)) / self.sends if self.sends else 0.0


class EffectLift(Struct, frozen=True):
    """By how much the customers of one group did more than those of another, the control, each.

    The interval is right at all times at once, so it may be looked at whenever one likes.
    ``customers`` are of both groups. Of a campaign, those who were spoken to against those held
    out, and ``metric`` is ``orders`` or ``revenue`` within the attribution windows.
    """

    metric: str
    control: float
    treated: float
    difference: float
    low: float
    high: float
    relative: float | None
    customers: int


class EffectGap(Struct, frozen=True):
    """How much of a campaign's target was due and reached by the end of an hour, or by now."""

    metric: str
    due: float
    reached: float


class Effect(Struct, frozen=True, tag_field="kind", tag="campaign"):
    """Topic ``beckon.effects.v1`` (compacted): absolute figures of one cell, so repeats do no harm.

    ``channel``, ``segment`` and ``hour_ms`` are None where the cell is of all of them. An hour's
    cell of a campaign has its ``gap``; the cells of all hours have ``lifts``, and the campaign's
    whole ``sample_ratio_p``: how likely groups as unequal as these are when nothing is wrong,
    whenever it is asked. What is credited to no campaign is that of ``organic``.
    """

    campaign_id: str
    channel: str | None
    segment: str | None
    hour_ms: int | None
    counted: Counted
    roi: float
    click_through: float
    conversion: float
    unsubscribe_ratio: float
    complaint_ratio: float
    lifts: tuple[EffectLift, ...] = ()
    sample_ratio_p: float | None = None
    gap: EffectGap | None = None
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION

    @property
    def key(self) -> str:
        """The key on the topic; a star stands for all."""
        return effect_key(self.campaign_id, self.channel, self.segment, self.hour_ms)


def effect_key(campaign: str, channel: str | None, segment: str | None, hour_ms: int | None) -> str:
    """The key of a cell on the topic; a star stands for all."""
    parts = (channel, segment, hour_ms)
    return "/".join((campaign, *("*" if part is None else str(part) for part in parts)))


class VariantEffect(Struct, frozen=True):
    """A variant of an experiment: how many customers came into it, and what they did.

    ``counted`` are the figures of the messages that they got; ``clicks``, ``orders`` and
    ``revenue`` are means over all its customers, of all that they bought, whoever is credited.
    ``lifts`` are against the control, the first variant, which has none; ``segments`` the same for
    the customers of each.
    """

    name: str
    share: float
    customers: int
    counted: Counted
    clicks: float = 0.0
    orders: float = 0.0
    revenue: float = 0.0
    lifts: tuple[EffectLift, ...] = ()
    segments: dict[str, tuple[EffectLift, ...]] = {}


class ExperimentEffect(Struct, frozen=True, tag_field="kind", tag="experiment"):
    """Topic ``beckon.effects.v1`` as well: where an experiment stands, absolute.

    Of what came since ``since_ms``, Kafka's time at which the experiment was last changed: treated
    otherwise, customers are compared anew. ``level`` is how often an interval may be wrong, on its
    own. ``sample_ratio_p`` is how likely groups of these sizes are under the variants' shares,
    whenever it is asked; when it is tiny, no comparison can be believed.
    """

    experiment_id: str
    version: int
    since_ms: int
    campaigns: tuple[str, ...]
    level: float
    variants: tuple[VariantEffect, ...]
    sample_ratio_p: float
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION

    @property
    def key(self) -> str:
        """The key on the topic; a campaign's has four parts."""
        return f"experiment/{self.experiment_id}"


EffectRecord = Effect | ExperimentEffect
