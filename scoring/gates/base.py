"""What every gate is: a pure question to a candidate, made ready for one campaign.

Each file beside this one is one gate. Its ``ready(spec, policy)`` does once, when a campaign or the
policy comes into force, whatever does not depend on the customer, and gives the function that is
asked for each candidate; None where the campaign has nothing to fear from that gate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct
from xxhash import xxh3_128_hexdigest

from schemas.control import Campaign, CatalogueItem, Segmentation
from schemas.decision import Offer
from schemas.outcome import Channel
from state.book import Book
from state.profile import Profile

if TYPE_CHECKING:
    from scoring.campaigns.base import Trigger
    from state.purse import Purse


def decision_id(user_id: str, campaign_id: str, event_id: str) -> str:
    """The id of the decision that an event triggers for a campaign: the same whenever made."""
    return "d" + xxh3_128_hexdigest(f"{user_id}\x1f{campaign_id}\x1f{event_id}".encode())[:24]


class Candidate(Struct):
    """A campaign that was set off for a customer, on its way through the gates.

    Gates narrow ``channels`` and note what they found; everything else they only read. ``since_ms``
    is when the reason arose, which is before ``at_ms`` for a message that was deferred. ``spec`` is
    the campaign as the customer's ``variant`` has it; ``shares`` are those of the channels.
    ``considered`` is set when it came as far as to be appraised and is not held out: from there on
    a variant makes a difference.
    ``name`` is the `decision_id` once it was asked for.
    """

    user_id: str
    spec: Campaign
    trigger: Trigger
    at_ms: int
    since_ms: int
    profile: Profile
    book: Book
    catalogue: dict[str, CatalogueItem]
    purse: Purse | None = None
    channels: tuple[Channel, ...] = ()
    held_out: bool = False
    due_ms: int = 0
    offer: Offer = Offer()
    features: list[float] = []
    shares: tuple[float, ...] = ()
    variant: str = ""
    case: int = -1
    score: float = 0.0
    value: float = 0.0
    score_failed: bool = False
    segmentation: Segmentation | None = None
    considered: bool = False
    name: str = ""

    @property
    def decision_id(self) -> str:
        """The id of its decision; most candidates come to nothing before anybody asks."""
        name = self.name
        if not name:
            name = decision_id(self.user_id, self.spec.id, self.trigger.event_id)
            self.name = name
        return name

    @property
    def lasts_until_ms(self) -> int:
        """When its reason is gone: it has grown too old, or what it is about is over."""
        until_ms = self.trigger.until_ms
        expires_ms = self.since_ms + self.spec.expires_after_ms
        return min(until_ms, expires_ms) if until_ms else expires_ms


Gate = Callable[[Candidate], str | None]
"""Lets a candidate through (None), or names the reason of `schemas.reasons` why not."""


def is_transactional(spec: Campaign) -> bool:
    """Whether a campaign's messages are owed to the customer, and no marketing."""
    return spec.message == "transactional"
