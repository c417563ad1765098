"""Budget: a message goes only through a channel that the campaign can pay for now."""

from __future__ import annotations

from schemas.budget import micros
from schemas.control import Campaign, Policy
from scoring.gates.base import Candidate, Gate
from state.purse import AWAITED, SPENT


def ready(spec: Campaign, policy: Policy) -> Gate | None:
    """Asks the shard's purse, channel by channel; without a purse nothing is paid."""
    if spec.budget is None:
        return None
    costs = {channel: micros(policy.channel_cost.get(channel, 0.0)) for channel in spec.channels}

    def gate(candidate: Candidate) -> str | None:
        purse, at_ms = candidate.purse, candidate.at_ms
        if purse is None:
            return SPENT
        refusals = {
            channel: purse.refusal(spec, channel, at_ms, costs[channel])
            for channel in candidate.channels
        }
        candidate.channels = tuple([each for each, refusal in refusals.items() if not refusal])
        if candidate.channels:
            return None
        return AWAITED if AWAITED in refusals.values() else SPENT

    return gate
