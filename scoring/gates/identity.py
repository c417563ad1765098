"""Identity: whatever comes twice, nobody is told the same thing twice."""

from __future__ import annotations

from schemas.control import Campaign, Policy
from scoring.gates.base import Candidate, Gate


def ready(spec: Campaign, policy: Policy) -> Gate:
    """Asks whether this message was decided, or waits, already.

    The input's own id is known for long; this catches what comes again after it was forgotten.
    """
    name = spec.id

    def gate(candidate: Candidate) -> str | None:
        book = candidate.book
        if name in book.last_sent:
            wanted = candidate.decision_id
            if any(exposure.decision_id == wanted for exposure in book.exposures):
                return "already_decided"
        waiting = book.deferred.get(name)
        if waiting is not None and waiting.event_id == candidate.trigger.event_id:
            return "already_decided"
        return None

    return gate
