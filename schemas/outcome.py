"""What became of a decision, as the push, SMS or e-mail system reports it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.event import SCHEMA_VERSION, Identifier, Instant, Money, UserId

OutcomeKind = Literal[
    "delivered",
    "opened",
    "clicked",
    "converted",
    "bounced",
    "unsubscribed",
    "complained",
    "refunded",
    "cancelled",
]
Channel = Literal["sms", "push", "email"]
CHANNELS: tuple[Channel, ...] = ("sms", "push", "email")
NEED_DECISION: frozenset[str] = frozenset({"delivered", "opened", "clicked", "bounced"})
NEED_ORDER: frozenset[str] = frozenset({"refunded", "cancelled"})
ORDER_KINDS: frozenset[str] = NEED_ORDER | {"converted"}


class Outcome(Struct, frozen=True):
    """Topic ``beckon.outcomes.v1``. ``outcome_id`` makes a retry harmless.

    What happened to a message names its decision: ``delivered``, ``opened``, ``clicked`` and
    ``bounced``. The other kinds may. ``value`` is the revenue of a conversion, or what a refund
    gives back of it; a refund without one gives back all. ``order_id`` says which order was
    converted, by default that of the ``outcome_id``; ``refunded`` and ``cancelled`` must name it.
    """

    outcome_id: Identifier
    user_id: UserId
    kind: OutcomeKind
    ts: Instant
    schema_version: int = SCHEMA_VERSION
    decision_id: Identifier | None = None
    campaign_id: Annotated[str, Meta(max_length=128)] | None = None
    channel: Channel | None = None
    value: Money | None = None
    order_id: Identifier | None = None
