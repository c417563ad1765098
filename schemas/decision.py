"""What Beckon decided to say to a customer; the contract that senders read."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.event import SCHEMA_VERSION
from schemas.outcome import Channel

Ratio = Annotated[float, Meta(ge=0, le=1)]


class Offer(Struct, frozen=True):
    """What is offered; ``valid_days`` counts from the decision."""

    type: str = "none"
    discount_ratio: Ratio = 0.0
    valid_days: int = 7


class Decision(Struct, frozen=True):
    """Topic ``beckon.decisions.v1``, keyed by customer.

    ``decision_id`` is a function of (customer, campaign, trigger event): a sender that drops an id
    it has seen never speaks twice. ``status`` is ``holdout`` for a customer who is kept back so
    that lift can be measured: such a decision must never be sent. Times are UTC milliseconds;
    ``decided_at_ms`` is event time, ``ingested_ms`` is when Kafka took the trigger in.
    """

    decision_id: str
    status: Literal["send", "holdout"]
    user_id: str
    campaign_id: str
    campaign_version: int
    trigger: str
    trigger_event_id: str
    channel: Channel
    propensity: Ratio
    score: Ratio
    decided_at_ms: int
    ingested_ms: int
    expires_at_ms: int
    model_version: str
    feature_hash: str
    policy_version: int
    posterior_version: int
    offer: Offer
    reason: str
    item_id: str | None = None
    item_category: str | None = None
    feature_age_ms: int = 0
    degraded: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION
