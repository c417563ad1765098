"""Holdout: who is kept back, so that lift can be measured.

It refuses nobody. A held-out customer meets the same gates as everybody and gets a decision marked
``holdout`` in the end, so that both groups are chosen alike.
"""

from __future__ import annotations

from xxhash import xxh3_64_intdigest

from schemas.control import Campaign, Policy
from scoring.gates.base import Candidate, Gate, is_transactional


def ready(spec: Campaign, policy: Policy) -> Gate | None:
    """Marks the candidates of the global and of the campaign's own holdout."""
    if is_transactional(spec) or not (policy.holdout_ratio or spec.holdout_ratio):
        return None

    def gate(candidate: Candidate) -> str | None:
        candidate.held_out = held_out(candidate.user_id, spec, policy)
        return None

    return gate


def held_out(user_id: str, spec: Campaign, policy: Policy) -> bool:
    """Whether a customer is kept back from everything, or from a campaign's marketing."""
    everywhere, here = policy.holdout_ratio, spec.holdout_ratio
    return (everywhere > 0 and _share(f"holdout\x1f{user_id}") < everywhere) or (
        here > 0 and _share(f"holdout\x1f{spec.id}\x1f{user_id}") < here
    )


def _share(text: str) -> float:
    """A number in [0, 1) that depends on nothing but the text, and so is stable for ever."""
    return xxh3_64_intdigest(text.encode()) / 2**64
