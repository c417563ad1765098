"""Budget: a message goes only through a channel that the campaign can pay for now."""

from __future__ import annotations

from schemas.budget import micros
from schemas.control import Campaign, Policy
from scoring.gates.base import Candidate, Gate


def ready(spec: Campaign, policy: Policy) -> Gate | None:
    """Asks the shard's purse, channel by channel; without a purse nothing is paid."""
    if spec.budget is None:
        return None
    costs = {channel: micros(policy.channel_cost.get(channel, 0.0)) for channel in spec.channels}

    def gate(candidate: Candidate) -> str | None:
        purse, at_ms = candidate.purse, candidate.at_ms
        if purse is None:
            return "no_budget"
        candidate.channels = tuple(
            [
                channel
                for channel in candidate.channels
                if purse.covers(spec, channel, at_ms, costs[channel])
            ]
        )
        return None if candidate.channels else "no_budget"

    return gate
