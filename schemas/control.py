"""What steers the stream: campaigns, models, policy, posteriors and the catalogue.

One compacted topic, ``beckon.control.v1``. The key is ``<kind>/<id>``; a null value withdraws the
record. A record whose ``updated_ms`` is older than the one in force is ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.budget import Budget, Lease
from schemas.decision import Offer, Ratio
from schemas.event import SCHEMA_VERSION, Money
from schemas.experiment import Experiment
from schemas.learning_rules import Learning
from schemas.model import Challenger, Model
from schemas.outcome import Channel
from schemas.pricing import LearnedResponse, Pricing
from schemas.triggers import AbsenceTrigger as AbsenceTrigger
from schemas.triggers import ActionName as ActionName
from schemas.triggers import EventTrigger as EventTrigger
from schemas.triggers import Latitude, Longitude
from schemas.triggers import Milliseconds as Milliseconds
from schemas.triggers import Slug as Slug
from schemas.triggers import Trigger as Trigger

TimeOfDay = Annotated[
    str,
    Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="a time of day, such as 22:00"),
]
Condition = Annotated[
    str,
    Meta(
        max_length=4_000,
        description="a condition such as `price >= 100 and brand in [Ace, Bolt]`; empty for any",
    ),
]


class Target(Struct, frozen=True):
    """How much of a metric a campaign is to reach from ``starts_ms`` until ``ends_ms``."""

    metric: Literal["sends", "clicked", "conversions", "revenue", "margin"]
    amount: Annotated[float, Meta(gt=0, le=1e12)]
    starts_ms: int
    ends_ms: int


class Guardrails(Struct, frozen=True):
    """Shares of the messages above which a campaign is paused; None for no such limit."""

    unsubscribed: Ratio | None = None
    complained: Ratio | None = None


class Campaign(Struct, frozen=True, tag_field="kind", tag="campaign"):
    """A standing order: when to speak, to whom, through what, with which offer, how often.

    ``audience`` is a condition over the customer's profile, ``when`` one over the event that sets
    the campaign off; `scoring.conditions` says how they read. The campaign speaks from
    ``starts_ms`` until just before ``ends_ms``. ``message`` is what the customer gets: marketing,
    or something owed to them (`schemas.reasons` says what that changes). ``category`` is what caps
    count together; ``quiet_hours`` is what becomes of a message at night. Without
    ``learning`` the policy's holds.
    """

    id: Slug
    version: Annotated[int, Meta(ge=1)]
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    trigger: Trigger
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1, max_length=3)]
    status: Literal["active", "paused"] = "active"
    message: Literal["marketing", "transactional"] = "marketing"
    category: Slug = "general"
    quiet_hours: Literal["defer", "drop"] = "defer"
    audience: Condition = ""
    when: Condition = ""
    starts_ms: int | None = None
    ends_ms: int | None = None
    offer: Offer = Offer()
    pricing: Pricing = Pricing()
    budget: Budget | None = None
    cooldown_ms: Annotated[int, Meta(ge=0, le=366 * 86_400_000)] = 86_400_000
    attribution_window_ms: Milliseconds = 86_400_000
    expires_after_ms: Milliseconds = 86_400_000
    holdout_ratio: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    min_score: Ratio = 0.0
    target: Target | None = None
    guardrails: Guardrails | None = None
    learning: Learning | None = None
    description: str = ""
    updated_ms: int = 0
    author: str = ""
    schema_version: int = SCHEMA_VERSION


class Cap(Struct, frozen=True):
    """At most ``most`` messages in any ``within_ms``, or in each calendar ``per`` of the customer.

    It counts all campaigns' marketing messages, or those of one category, one channel, or both.
    Exactly one of ``within_ms`` and ``per`` is given; a week begins on Monday.
    """

    most: Annotated[int, Meta(ge=0, le=64)]
    within_ms: Annotated[int, Meta(ge=1, le=366 * 86_400_000)] | None = None
    per: Literal["day", "week", "month"] | None = None
    channel: Channel | None = None
    category: Slug | None = None


class QuietHours(Struct, frozen=True):
    """When customers are not disturbed, by the clock where they live; ``end`` is the first minute
    in which they may be. Spans midnight when it ends before it starts.
    """

    start: TimeOfDay = "22:00"
    end: TimeOfDay = "08:00"


AttributionModel = Literal["last_touch", "position", "time_decay"]


class Policy(Struct, frozen=True, tag_field="kind", tag="policy"):
    """The house rules that hold over all campaigns; exactly one, id ``main``.

    ``default_zone`` is for customers whose zone nobody told, or told wrongly. A message counts for
    the ``caps`` from the decision on; one that bounces within ``reservation_ms`` counts no more.
    A channel through which ``bounce_limit`` messages in a row came back is left alone until one
    gets through or the customer opts in anew; 0 is never. ``attribution`` is how the value of an
    order is shared among the messages that may have led to it (`scoring.attribution`), over all
    campaigns, so that together they get what it was worth.
    """

    id: Literal["main"] = "main"
    version: Annotated[int, Meta(ge=1)] = 1
    lateness_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 60_000
    future_tolerance_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 300_000
    holdout_ratio: Annotated[float, Meta(ge=0, le=0.5)] = 0.05
    caps: Annotated[tuple[Cap, ...], Meta(max_length=16)] = (Cap(3, 86_400_000),)
    quiet_hours: QuietHours | None = None
    reservation_ms: Milliseconds = 3 * 86_400_000
    bounce_limit: Annotated[int, Meta(ge=0, le=100)] = 3
    default_zone: str = "UTC"
    channel_cost: dict[str, Money] = field(
        default_factory=lambda: {"sms": 0.05, "push": 0.002, "email": 0.004}
    )
    prior_alpha: Annotated[float, Meta(gt=0)] = 1.0
    prior_beta: Annotated[float, Meta(gt=0)] = 19.0
    attribution: AttributionModel = "last_touch"
    attribution_half_life_ms: Milliseconds = 7 * 86_400_000
    learning: Learning = Learning()
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION


class Posterior(Struct, frozen=True, tag_field="kind", tag="posterior"):
    """What is known of one arm: Beta(``alpha``, ``beta``) over its click-through.

    Absolute values, so that reading one twice does no harm; ``version`` counts what changed it.
    ``variant`` is ``<experiment>/<variant>``, or empty outside of experiments. ``met`` and ``won``
    are the arm's sums as of ``newest_ms`` (`state.arm`): all that a policy or a job that starts
    anew needs.
    """

    campaign_id: Slug
    channel: Channel
    alpha: Annotated[float, Meta(gt=0)]
    beta: Annotated[float, Meta(gt=0)]
    version: Annotated[int, Meta(ge=0)]
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION
    variant: str = ""
    newest_ms: int = 0
    met: tuple[float, ...] = ()
    won: tuple[float, ...] = ()


class ShareSpan(Struct, frozen=True):
    """The least and the greatest share of each channel in the minutes from ``start_ms`` on."""

    start_ms: int
    least: tuple[float, ...]
    most: tuple[float, ...]


class ChannelMix(Struct, frozen=True, tag_field="kind", tag="mix"):
    """How a campaign's messages are shared among its channels since ``at_ms`` of event time.

    ``case`` is the context that it is for (a place in `scoring.policies.context.CONTEXTS`), -1
    where the policy has no use for one. ``past`` is where the shares were in the hour before.
    """

    campaign_id: Slug
    channels: tuple[Channel, ...]
    shares: tuple[Ratio, ...]
    version: Annotated[int, Meta(ge=0)]
    at_ms: int
    variant: str = ""
    case: int = -1
    past: tuple[ShareSpan, ...] = ()
    schema_version: int = SCHEMA_VERSION


class CatalogueItem(Struct, frozen=True, tag_field="kind", tag="item"):
    """What is for sale."""

    id: Annotated[str, Meta(min_length=1, max_length=128)]
    category: str | None = None
    brand: str | None = None
    price: Money | None = None
    margin_ratio: Ratio | None = None
    stock: Annotated[int, Meta(ge=0)] | None = None
    sales_per_day: Annotated[float, Meta(ge=0)] | None = None
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION


class ItemSales(Struct, frozen=True, tag_field="kind", tag="sales"):
    """How many of an item the night expects to be sold in a day from ``updated_ms`` on.

    It goes before what the catalogue says of the same item, which whoever keeps it has told.
    """

    id: Annotated[str, Meta(min_length=1, max_length=128)]
    per_day: Annotated[float, Meta(ge=0, le=1e9)]
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION


class Shop(Struct, frozen=True, tag_field="kind", tag="shop"):
    """A shop of a chain, for fences around it."""

    id: Annotated[str, Meta(min_length=1, max_length=128)]
    chain: Slug
    lat: Latitude
    lon: Longitude
    name: str = ""
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION


class ItemList(Struct, frozen=True, tag_field="kind", tag="list"):
    """Items to recommend, best first; ``of`` is the item or category that they go with.

    An empty ``of`` is the general list, for whoever has none of their own.
    """

    id: Slug
    items: Annotated[tuple[str, ...], Meta(max_length=200)]
    of: str = ""
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION


class Forecast(Struct, frozen=True, tag_field="kind", tag="forecast"):
    """Expected visitors for each hour of a week, Monday 00:00 first, in ``zone``."""

    id: Slug
    visitors: Annotated[tuple[float, ...], Meta(min_length=168, max_length=168)]
    zone: str = "UTC"
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION


class SegmentCentre(Struct, frozen=True):
    """A segment of the last night and its middle, in the units of the axes."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    centre: tuple[float, ...]


class Segmentation(Struct, frozen=True, tag_field="kind", tag="segmentation"):
    """The night's segments, by which the stream finds one for a customer who has none yet.

    A customer belongs to the centre that is nearest after log(1 + x), less ``mean``, over
    ``deviation``. ``axes`` are days since the last purchase, purchases and money spent.
    """

    id: Literal["main"]
    axes: tuple[Literal["recency_days", "orders", "money"], ...]
    mean: tuple[float, ...]
    deviation: tuple[Annotated[float, Meta(gt=0)], ...]
    centres: Annotated[tuple[SegmentCentre, ...], Meta(min_length=1, max_length=64)]
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION


class Pacing(Struct, frozen=True, tag_field="kind", tag="pacing"):
    """The night's plan for a day's money.

    ``spend`` is campaign → channel → money, ``price`` the margin that the last unit of it is
    expected to bring: a message that brings less for its cost takes the place of a better one.
    ``channel_prices`` come on top where a channel's ceiling binds. `scoring.pacing` has what the
    stream makes of it. ``day`` is of UTC, such as 2026-11-26.
    """

    id: Literal["main"]
    day: str
    spend: dict[str, dict[str, Money]]
    price: Annotated[float, Meta(ge=0)]
    channel_prices: dict[str, float] = {}
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION


ControlRecord = (
    Campaign
    | Model
    | Policy
    | Posterior
    | ChannelMix
    | Experiment
    | CatalogueItem
    | ItemSales
    | Challenger
    | LearnedResponse
    | Shop
    | ItemList
    | Forecast
    | Lease
    | Segmentation
    | Pacing
)


def control_key(record: ControlRecord) -> str:
    """The Kafka key of a control record."""
    match record:
        case Posterior():
            return f"posterior/{record.campaign_id}/{record.channel}{_of(record.variant)}"
        case ChannelMix():
            case = "" if record.case < 0 else f"#{record.case}"
            return f"mix/{record.campaign_id}{_of(record.variant)}{case}"
        case Experiment():
            return f"experiment/{record.id}"
        case LearnedResponse():
            return f"response/{record.campaign_id}"
        case Campaign():
            return f"campaign/{record.id}"
        case Model():
            return f"model/{record.id}"
        case Challenger():
            return f"challenger/{record.id}"
        case Policy():
            return f"policy/{record.id}"
        case CatalogueItem():
            return f"item/{record.id}"
        case ItemSales():
            return f"sales/{record.id}"
        case Shop():
            return f"shop/{record.id}"
        case ItemList():
            return f"list/{record.id}/{record.of}"
        case Forecast():
            return f"forecast/{record.id}"
        case Lease():
            return f"lease/{record.campaign_id}"
        case Segmentation():
            return f"segmentation/{record.id}"
        case Pacing():
            return f"pacing/{record.id}"


def _of(variant: str) -> str:
    return f"/{variant}" if variant else ""
