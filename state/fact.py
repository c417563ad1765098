"""A fact: an accepted event or outcome in the form in which we remember it.

Only what the tags need is kept, and personal data is masked before it gets here: a phone number,
e-mail address or name never reaches state, a store or a log in the clear.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from xxhash import xxh3_64_intdigest

from schemas.event import BehaviorEvent, Consent, Device, Location, Traits
from schemas.outcome import Outcome


class Fact(Struct, array_like=True, frozen=True, gc=False):
    """One thing that happened, in event time (UTC ms).

    ``id64`` is a hash of the producer's id and, with ``ts``, orders facts the same way whatever
    order they arrived in. ``seq`` counts what this customer had accepted before. ``action`` is an
    event's action or an outcome's kind; ``channel``, ``campaign`` and ``value`` come with outcomes.
    """

    ts: int
    id64: int
    seq: int
    action: str
    item: str | None = None
    category: str | None = None
    brand: str | None = None
    price: float | None = None
    quantity: int | None = None
    channel: str | None = None
    campaign: str | None = None
    value: float | None = None
    consent: Consent | None = None
    traits: Traits | None = None
    device: Device | None = None
    location: Location | None = None


def id64(identifier: str) -> int:
    """The 64-bit hash by which an id is remembered (xxHash3; not a secret)."""
    return xxh3_64_intdigest(identifier.encode())


def fact_of_event(event: BehaviorEvent, ts: int, digest: int, seq: int) -> Fact:
    """The fact in a behaviour event; ``ts`` is its time in ms, ``digest`` the `id64` of its id."""
    return Fact(
        ts,
        digest,
        seq,
        event.action,
        event.item_id,
        event.item_category,
        event.brand,
        event.price,
        event.quantity,
        None,
        None,
        None,
        event.consent,
        None if event.traits is None else masked(event.traits),
        event.device,
        event.location,
    )


def fact_of_outcome(
    outcome: Outcome, ts: int, digest: int, seq: int, campaign: str | None, channel: str | None
) -> Fact:
    """The fact in an outcome; campaign and channel are those of the decision it answers."""
    return Fact(
        ts,
        digest,
        seq,
        outcome.kind,
        channel=channel,
        campaign=campaign,
        value=outcome.value,
    )


_DIGITS: Final = re.compile(r"\d")


def mask_phone(phone: str) -> str:
    """Hide the four digits before the last four: ``13812345678`` → ``138****5678``.

    Separators stay where they are. A number of fewer than eight digits is hidden altogether.
    """
    places = [match.start() for match in _DIGITS.finditer(phone)]
    hidden = places[-8:-4] if len(places) >= 8 else places
    return "".join("*" if place in hidden else sign for place, sign in enumerate(phone))


def mask_email(email: str) -> str:
    """Keep the first letter and the domain: ``jen.doe@shop.example`` → ``j***@shop.example``."""
    name, at, domain = email.partition("@")
    return f"{name[:1]}***{at}{domain}" if at else "***"


def mask_name(name: str) -> str:
    """Keep the first letter: ``Jen Doe`` → ``J***``."""
    return f"{name[:1]}***"


def masked(traits: Traits) -> Traits:
    """Traits with phone, e-mail and name masked."""
    if traits.phone is None and traits.email is None and traits.name is None:
        return traits
    return replace(
        traits,
        phone=None if traits.phone is None else mask_phone(traits.phone),
        email=None if traits.email is None else mask_email(traits.email),
        name=None if traits.name is None else mask_name(traits.name),
    )
