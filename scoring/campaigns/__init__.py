"""The kinds of campaign. A new kind is one file and one line here; the contract suite finds it."""

from __future__ import annotations

from typing import Final

from schemas.control import AbsenceTrigger, Campaign, EventTrigger
from scoring.campaigns.absence import AbsenceCampaign
from scoring.campaigns.base import CampaignKind
from scoring.campaigns.event import EventCampaign

CAMPAIGN_KINDS: Final[dict[type, type[CampaignKind]]] = {
    EventTrigger: EventCampaign,
    AbsenceTrigger: AbsenceCampaign,
}
"""Trigger of the contract → kind."""


def ready(spec: Campaign) -> CampaignKind:
    """Make a campaign ready to run."""
    return CAMPAIGN_KINDS[type(spec.trigger)](spec)
