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


class Loser(Struct, frozen=True):
    """Another campaign that wanted to speak at the same moment, and what stopped it.

    ``gate`` and ``reason`` are of `schemas.reasons`; ``score`` and ``value`` are 0 when it did not
    come as far as to be scored.
    """

    campaign_id: str
    gate: str
    reason: str
    score: float = 0.0
    value: float = 0.0


class Decision(Struct, frozen=True):
    """Topic ``beckon.decisions.v1``, keyed by customer.

    ``decision_id`` is a function of (customer, campaign, trigger event): a sender that drops an id
    it has seen never speaks twice. ``status`` is ``holdout`` for a customer who is kept back so
    that lift can be measured: such a decision must never be sent. Times are UTC milliseconds;
    ``decided_at_ms`` is event time, ``ingested_ms`` is when Kafka took the trigger in. After
    ``expires_at_ms`` it must not be sent: its reason has gone, or the quiet hours have begun.

    ``value`` is what the shop expects of it, less its cost at the price of money of that day;
    ``because`` are the features that moved the score most, in words; ``losers`` are the other
    campaigns of the moment. ``deferred_ms`` is how long it waited for the quiet hours to end,
    ``paid_day`` the day of the budget that paid ``cost_micros`` for it, ``paid_number`` which
    payment from its shard's money of that day it was.
    ``variant`` is ``<experiment>/<variant>``, or empty for who takes part in no experiment;
    ``case`` is the context of the choice, as in `schemas.learning.Example`.
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
    value: float = 0.0
    because: tuple[str, ...] = ()
    losers: tuple[Loser, ...] = ()
    deferred_ms: int = 0
    cost_micros: int = 0
    paid_day: str = ""
    paid_number: int = 0
    variant: str = ""
    case: int = -1
    schema_version: int = SCHEMA_VERSION
