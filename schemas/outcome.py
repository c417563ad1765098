"""What became of a decision, as the push, SMS or e-mail system reports it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.event import SCHEMA_VERSION, Identifier, Instant, Money, UserId

OutcomeKind = Literal[
    "delivered", "opened", "clicked", "converted", "bounced", "unsubscribed", "complained"
]
Channel = Literal["sms", "push", "email"]
CHANNELS: tuple[Channel, ...] = ("sms", "push", "email")


class Outcome(Struct, frozen=True):
    """Topic ``beckon.outcomes.v1``. ``outcome_id`` makes a retry harmless.

    ``unsubscribed`` and ``complained`` need no decision; every other kind names one.
    ``value`` is the revenue of a conversion.
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
