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
from schemas.outcome import Channel
from schemas.pricing import LearnedResponse, Pricing

Slug = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="lower-case slug")]
ActionName = Annotated[str, Meta(pattern=r"^([a-z][a-z0-9_]{0,31}|\*)$", description="* is any")]
Milliseconds = Annotated[int, Meta(ge=1, le=366 * 86_400_000)]
Condition = Annotated[
    str,
    Meta(
        max_length=4_000,
        description="a condition such as `price >= 100 and brand in [Ace, Bolt]`; empty for any",
    ),
]


class EventTrigger(Struct, frozen=True, tag_field="kind", tag="event"):
    """Fires at an event: ``actions`` seen ``at_least`` times within ``within_ms``.

    ``same`` narrows the count to the triggering event's item or category.
    """

    actions: Annotated[tuple[ActionName, ...], Meta(min_length=1)]
    at_least: Annotated[int, Meta(ge=1, le=20)] = 1
    within_ms: Annotated[int, Meta(ge=1, le=86_400_000)] = 3_600_000
    same: Literal["item", "category"] | None = None


class AbsenceTrigger(Struct, frozen=True, tag_field="kind", tag="absence"):
    """Fires when, after one of ``after``, none of ``without`` follows within ``within_ms``.

    Each further ``after`` starts the wait anew. Cart abandonment and win-back are both of it.
    """

    after: Annotated[tuple[ActionName, ...], Meta(min_length=1)]
    without: Annotated[tuple[ActionName, ...], Meta(min_length=1)]
    within_ms: Milliseconds


Trigger = EventTrigger | AbsenceTrigger


class Campaign(Struct, frozen=True, tag_field="kind", tag="campaign"):
    """A standing order: when to speak, to whom, through what, with which offer, how often.

    ``audience`` is a condition over the customer's profile, ``when`` one over the event that sets
    the campaign off; `scoring.conditions` says how they read. The campaign speaks from
    ``starts_ms`` until just before ``ends_ms``.
    """

    id: Slug
    version: Annotated[int, Meta(ge=1)]
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    trigger: Trigger
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1, max_length=3)]
    status: Literal["active", "paused"] = "active"
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
    description: str = ""
    updated_ms: int = 0
    author: str = ""
    schema_version: int = SCHEMA_VERSION


class Golden(Struct, frozen=True):
    """Inputs (n rows of features) and the probabilities (n) that the model must give for them."""

    inputs: list[list[float]]
    outputs: list[float]


class Model(Struct, frozen=True, tag_field="kind", tag="model"):
    """A logistic CTR model as ONNX, with what is needed to prove it before use."""

    id: Slug
    version: Annotated[str, Meta(min_length=1, max_length=64)]
    onnx: Annotated[str, Meta(description="the ONNX file, base64")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    feature_hash: str
    golden: Golden
    auc: float | None = None
    trained_rows: int | None = None
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION


class Policy(Struct, frozen=True, tag_field="kind", tag="policy"):
    """The house rules that hold over all campaigns; exactly one, id ``main``."""

    id: Literal["main"] = "main"
    version: Annotated[int, Meta(ge=1)] = 1
    lateness_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 60_000
    future_tolerance_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 300_000
    holdout_ratio: Annotated[float, Meta(ge=0, le=0.5)] = 0.05
    cap_sends: Annotated[int, Meta(ge=0, le=16)] = 3
    cap_window_ms: Milliseconds = 86_400_000
    default_zone: str = "UTC"
    channel_cost: dict[str, Money] = field(
        default_factory=lambda: {"sms": 0.05, "push": 0.002, "email": 0.004}
    )
    prior_alpha: Annotated[float, Meta(gt=0)] = 1.0
    prior_beta: Annotated[float, Meta(gt=0)] = 19.0
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION


class Posterior(Struct, frozen=True, tag_field="kind", tag="posterior"):
    """What is known of one arm: Beta(``alpha``, ``beta``) over its click-through.

    Absolute values, so that reading one twice does no harm; ``version`` counts its rewards.
    """

    campaign_id: Slug
    channel: Channel
    alpha: Annotated[float, Meta(gt=0)]
    beta: Annotated[float, Meta(gt=0)]
    version: Annotated[int, Meta(ge=0)]
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION


class CatalogueItem(Struct, frozen=True, tag_field="kind", tag="item"):
    """What is for sale."""

    id: Annotated[str, Meta(min_length=1, max_length=128)]
    category: str | None = None
    brand: str | None = None
    price: Money | None = None
    margin_ratio: Ratio | None = None
    stock: Annotated[int, Meta(ge=0)] | None = None
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION


ControlRecord = Campaign | Model | Policy | Posterior | CatalogueItem | LearnedResponse | Lease


def control_key(record: ControlRecord) -> str:
    """The Kafka key of a control record."""
    match record:
        case Posterior():
            return f"posterior/{record.campaign_id}/{record.channel}"
        case LearnedResponse():
            return f"response/{record.campaign_id}"
        case Campaign():
            return f"campaign/{record.id}"
        case Model():
            return f"model/{record.id}"
        case Policy():
            return f"policy/{record.id}"
        case CatalogueItem():
            return f"item/{record.id}"
        case Lease():
            return f"lease/{record.campaign_id}"
