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
    everywhere, here = policy.holdout_ratio, spec.holdout_ratio
    if is_transactional(spec) or not (everywhere or here):
        return None
    own = f"holdout\x1f{spec.id}\x1f"

    def gate(candidate: Candidate) -> str | None:
        user = candidate.user_id
        candidate.held_out = (everywhere > 0 and _share("holdout\x1f" + user) < everywhere) or (
            here > 0 and _share(own + user) < here
        )
        return None

    return gate


def _share(text: str) -> float:
    """A number in [0, 1) that depends on nothing but the text, and so is stable for ever."""
    return xxh3_64_intdigest(text.encode()) / 2**64
