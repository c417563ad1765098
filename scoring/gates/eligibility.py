"""Eligibility: what set the campaign off still holds, and it is for this customer, now."""

from __future__ import annotations

from schemas.control import Campaign, Policy
from scoring.conditions import View, audience
from scoring.gates.base import Candidate, Gate


def ready(spec: Campaign, policy: Policy) -> Gate:
    """Asks for the campaign's period, the reason's age, cooldown, stock and audience."""
    name, cooldown_ms = spec.id, spec.cooldown_ms
    starts_ms, ends_ms = spec.starts_ms, spec.ends_ms
    wanted = audience(spec.audience)

    def gate(candidate: Candidate) -> str | None:
        at_ms = candidate.at_ms
        if starts_ms is not None and at_ms < starts_ms:
            return "not_in_period"
        if ends_ms is not None and at_ms >= ends_ms:
            return "not_in_period"
        if at_ms >= candidate.lasts_until_ms:
            return "expired"
        if cooldown_ms:
            last_ms = candidate.book.last_sent.get(name)
            if last_ms is not None and at_ms < last_ms + cooldown_ms:
                return "cooldown"
        item = candidate.trigger.item
        if item is not None:
            offered = candidate.catalogue.get(item)
            if offered is not None and offered.stock == 0:
                return "out_of_stock"
        if wanted is not None and not wanted.holds(
            View(candidate.profile, at_ms, candidate.segmentation)
        ):
            return "not_in_audience"
        return None

    return gate
