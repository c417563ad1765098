"""Arbitration: of all that could be said at one moment, what is worth most.

    expected value = click × conversion × margin - cost

The channel is not chosen yet, so the cost is what is to be expected of those that are left.
"""

from __future__ import annotations

from math import isfinite
from typing import Final

from schemas.control import Policy
from scoring.features import campaign_features
from scoring.gates.base import Candidate
from scoring.offers import best_offer, with_offer
from scoring.world import World

LOST: Final = "lost_arbitration"


def appraise(candidate: Candidate, customer_part: list[float], world: World) -> str | None:
    """Choose the offer, score it and work out what it is worth; a reason if that is too little."""
    spec, trigger, model = candidate.spec, candidate.trigger, world.model
    features = campaign_features(
        customer_part,
        candidate.profile,
        spec,
        trigger.item,
        trigger.category,
        trigger.brand,
        trigger.price,
        candidate.at_ms,
    )
    item = world.catalogue.get(trigger.item) if trigger.item is not None else None
    prices, name = world.price_list(spec), candidate.decision_id
    priced = best_offer(prices, model, features, name, trigger.price, item)
    if priced is None:
        return "no_offer"
    if prices.chooses:
        features = with_offer(features, priced.offer)
    score = model.score(features)
    if not isfinite(score):
        score, candidate.score_failed = _prior(world.policy), True
    candidate.offer = priced.offer
    candidate.features, candidate.score = features, score
    candidate.arms = world.arms(spec, candidate.channels)
    candidate.value = priced.expected_margin - _cost(candidate, world)
    return "low_score" if score < spec.min_score else None


def rank(rivals: list[Candidate]) -> None:
    """Put what is worth most first; of equals the campaign that comes first by name."""
    if len(rivals) > 1:
        rivals.sort(key=lambda candidate: (-candidate.value, candidate.spec.id))


def _cost(candidate: Candidate, world: World) -> float:
    """The cost of a message, by the chances of each channel to be chosen."""
    chances = world.channel_policy.probabilities(candidate.arms)
    costs = world.policy.channel_cost
    return sum(
        chance * costs.get(channel, 0.0)
        for chance, channel in zip(chances, candidate.channels, strict=True)
    )


def _prior(policy: Policy) -> float:
    return policy.prior_alpha / (policy.prior_alpha + policy.prior_beta)
