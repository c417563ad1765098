"""What is decided again after a crash, beside decisions that were published before it.

A customer's decisions are published in the order in which they are made. So while one that was
published has still to be made again, whatever comes before it came to nothing the first time. It
must do so again, though now there may be money for it, or another campaign: the caps of what was
published count on that.
"""

from __future__ import annotations

from typing import Final

from schemas.control import Campaign
from schemas.decision import Decision
from scoring.gates import Candidate
from scoring.gates.base import is_transactional
from scoring.world import World

OVERTAKEN: Final = "overtaken"
"""A reason of `schemas.reasons`."""


def is_overtaken(candidate: Candidate, world: World) -> bool:
    """Whether a decision of the customer stands that is still to be made again after this one.

    A customer's moments come out of order by the policy's lateness at most.
    """
    standing = world.standing and world.standing.get(candidate.user_id)
    if not standing:
        return False
    since_ms, spoke = candidate.at_ms - world.policy.lateness_ms, candidate.book.last_sent
    return any(
        each.decided_at_ms > since_ms
        and spoke.get(each.campaign_id, since_ms) < each.decided_at_ms
        and (each.decided_at_ms != candidate.at_ms or _goes_before(candidate.spec, each, world))
        for each in standing
    )


def _goes_before(spec: Campaign, other: Decision, world: World) -> bool:
    """Whether it goes out before another decision of its moment, where what is owed goes first."""
    theirs = world.campaigns.get(other.campaign_id)
    if theirs is None or not is_transactional(theirs):
        return True
    return is_transactional(spec) and spec.id < theirs.id
