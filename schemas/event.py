"""A behaviour event: one thing a customer did, as a producer reports it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

SCHEMA_VERSION = 1
MAX_EVENT_BYTES = 32_768

# The patterns below are part of the contract and of its JSON Schema, but `schemas.wire` checks them
# itself: a regular expression for each field would double the time to read an event.
Identifier = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        description="opaque to Beckon; no control characters",
        extra_json_schema={"pattern": r"^[^\x00-\x1f\x7f]+$"},
    ),
]
UserId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        description="printable ASCII without spaces: it is a key in four systems",
        extra_json_schema={"pattern": r"^[\x21-\x7e]+$"},
    ),
]
Action = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=32,
        description="one of ACTIONS, or a word of the producer's own",
        extra_json_schema={"pattern": r"^[a-z][a-z0-9_]{0,31}$"},
    ),
]
Label = Annotated[str, Meta(max_length=128)]
Money = Annotated[float, Meta(ge=0, le=1e12)]
Instant = Annotated[
    int | str,
    Meta(description="UTC milliseconds since the epoch, or an RFC 3339 date-time with a zone"),
]

ACTIONS = (
    "view",
    "search",
    "favourite",
    "cart",
    "cart_remove",
    "purchase",
    "refund",
    "login",
    "share",
)
"""Actions with counters of their own; any other well-formed name counts as ``other``."""

TAGS = "tags"
"""The action of the night's conclusions, which come in ``traits``: nothing that the customer did.
Such an event changes what is known of them and counts as no activity."""


class Location(Struct, frozen=True):
    """Where the customer was; degrees in WGS 84, accuracy in metres."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    accuracy_m: Annotated[float, Meta(ge=0)] | None = None
    region: Label | None = None
    city: Label | None = None


class Device(Struct, frozen=True):
    """What the customer held."""

    type: Label | None = None
    os: Label | None = None
    app_version: Label | None = None


class Attribution(Struct, frozen=True):
    """The message that led here, as the producer knows it."""

    campaign_id: Label | None = None
    decision_id: Label | None = None
    channel: Label | None = None


class Consent(Struct, frozen=True):
    """A change of consent: ``marketing`` is the purpose, the others are opt-ins by channel.

    Absent means unchanged; a customer of whom nothing was ever said has consented to nothing.
    """

    marketing: bool | None = None
    sms: bool | None = None
    push: bool | None = None
    email: bool | None = None


class Traits(Struct, frozen=True, omit_defaults=True):
    """What the producer knows of the customer; phone, e-mail and name are masked on arrival.

    From ``segment`` on they are what the night concludes: the segment, the likelihood that the
    customer is lost, the best hour of their day to speak, a gender, a home region and a spending
    power (low, middle or high), each with how sure that is, the money expected of them in the next
    90 days, what they care about more than others do, and the items picked for them (both by
    weight, separated by spaces). ``gone`` names those of them that it said before and says no more,
    separated by spaces.
    """

    gender: Label | None = None
    birth_year: Annotated[int, Meta(ge=1900, le=2100)] | None = None
    city: Label | None = None
    region: Label | None = None
    country: Label | None = None
    zone: Annotated[str, Meta(max_length=64, description="IANA time zone")] | None = None
    language: Label | None = None
    member_level: Label | None = None
    member_until_ms: int | None = None
    payment_due_ms: int | None = None
    income_band: Label | None = None
    signup_ms: int | None = None
    phone: Label | None = None
    email: Annotated[str, Meta(max_length=254)] | None = None
    name: Label | None = None
    segment: Label | None = None
    churn_risk: Annotated[float, Meta(ge=0, le=1)] | None = None
    best_hour: Annotated[int, Meta(ge=0, le=23)] | None = None
    predicted_gender: Label | None = None
    gender_confidence: Annotated[float, Meta(ge=0, le=1)] | None = None
    predicted_region: Label | None = None
    region_confidence: Annotated[float, Meta(ge=0, le=1)] | None = None
    spending_power: Label | None = None
    spending_confidence: Annotated[float, Meta(ge=0, le=1)] | None = None
    clv: Money | None = None
    interests: Label | None = None
    picks: Annotated[str, Meta(max_length=1_024)] | None = None
    gone: Annotated[str, Meta(max_length=256)] | None = None


class BehaviorEvent(Struct, frozen=True):
    """Topic ``beckon.events.v1``. ``event_id`` is the producer's and makes a retry harmless."""

    event_id: Identifier
    user_id: UserId
    action: Action
    ts: Instant
    schema_version: int = SCHEMA_VERSION
    item_id: Label | None = None
    item_category: Label | None = None
    brand: Label | None = None
    price: Money | None = None
    quantity: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")] | None = None
    query: Annotated[str, Meta(max_length=256)] | None = None
    source: Label | None = None
    location: Location | None = None
    device: Device | None = None
    attribution: Attribution | None = None
    consent: Consent | None = None
    traits: Traits | None = None
