"""Channel: one of those that are left, by the policy that learns; then the message is paid for."""

from __future__ import annotations

from typing import NamedTuple

from schemas.budget import micros
from schemas.outcome import Channel
from scoring.gates.base import Candidate
from scoring.policies.base import draw
from scoring.world import World
from state.purse import UNMETERED, Paid


class Choice(NamedTuple):
    """How a message goes out, and what pays for it."""

    channel: Channel
    propensity: float
    cost_micros: int
    paid: Paid


def choose(candidate: Candidate, world: World) -> Choice | None:
    """Draw a channel and take its cost from the purse; None when the money is not there.

    A held-out customer's message is not sent, and costs nothing.
    """
    drawn = draw(candidate.decision_id, candidate.shares)
    if drawn is None:  # which arbitration refuses
        return None
    place, propensity = drawn
    channel = candidate.channels[place]
    spec, purse = candidate.spec, candidate.purse
    cost = micros(world.policy.channel_cost.get(channel, 0.0))
    if spec.budget is None or candidate.held_out:
        return Choice(channel, propensity, cost, UNMETERED)
    paid = None if purse is None else purse.reserve(spec, channel, candidate.at_ms, cost)
    return None if paid is None else Choice(channel, propensity, cost, paid)
