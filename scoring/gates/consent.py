"""Consent and suppression: which channels a message may take. Fails closed."""

from __future__ import annotations

from schemas.control import Campaign, Policy
from scoring.gates.base import Candidate, Gate, is_transactional
from state.tagging.consent import Consent


def ready(spec: Campaign, policy: Policy) -> Gate:
    """Asks for the purpose, then for each channel's opt-in, then whether messages get through."""
    channels, limit = spec.channels, policy.bounce_limit
    owed = is_transactional(spec)

    def gate(candidate: Candidate) -> str | None:
        if owed:
            allowed = channels
        else:
            known = candidate.profile.tag(Consent).known
            word = known.get("marketing")
            if word is None or not word[1]:
                return "no_purpose"
            allowed = tuple(
                [
                    channel
                    for channel in channels
                    if (word := known.get(channel)) is not None and word[1]
                ]
            )
            if not allowed:
                return "no_opt_in"
        bounced = candidate.book.bounced
        if bounced and limit:
            allowed = tuple([channel for channel in allowed if bounced.get(channel, 0) < limit])
            if not allowed:
                return "unreachable"
        candidate.channels = allowed
        return None

    return gate
