"""Arbitration: of all that could be said at one moment, what is worth most.

    expected value = click × conversion × margin - cost × price of money

The channel is not chosen yet, so the cost is what is to be expected of those that are left. The
price of money is 1 unless the night's plan says that it is short (`scoring.pacing`).
"""

from __future__ import annotations

from math import isfinite
from typing import Final

from schemas.control import Policy
from schemas.decision import Offer
from scoring.features import campaign_features
from scoring.gates.base import Candidate, is_transactional
from scoring.offers import best_offer, with_offer
from scoring.pacing import Prices
from scoring.world import World

LOST: Final = "lost_arbitration"
BELOW_PRICE: Final = "below_price"


def appraise(candidate: Candidate, customer_part: list[float], world: World) -> str | None:
    """Choose the offer, score it and work out what it is worth; a reason if that is too little."""
    spec, trigger = candidate.spec, candidate.trigger
    model = world.models.of(candidate.user_id, candidate.variant)
    candidate.case = world.case(spec, candidate.profile, candidate.at_ms)
    sharing = world.mixes.sharing(spec, candidate.variant, candidate.case, candidate.channels)
    candidate.channels, candidate.shares, cost = sharing
    if not candidate.shares:
        return "switched_off"
    features = _features(candidate, customer_part)
    item = world.catalogue.get(trigger.item) if trigger.item is not None else None
    prices, name = world.price_list(spec, candidate.variant), candidate.decision_id
    score = model.score(features)
    priced = best_offer(prices, model, features, score, name, trigger.price, item)
    if priced is None:
        return "no_offer"
    if prices.chooses:
        features = with_offer(features, priced.offer)
        score = model.score(features)
    if not isfinite(score):
        score, candidate.score_failed = _prior(world.policy), True
    candidate.offer = priced.offer
    candidate.features, candidate.score = features, score
    money = world.prices
    if money is not None and not money.hold(candidate.at_ms):
        money = None
    if money is not None:
        cost = _cost(candidate, world, money)
    candidate.value = priced.expected_margin - cost
    if score < spec.min_score:
        return "low_score"
    dear = money is not None and money.short and candidate.value < 0
    return BELOW_PRICE if dear and spec.budget is not None and not is_transactional(spec) else None


def features_of(
    candidate: Candidate, customer_part: list[float], offer: Offer, world: World
) -> list[float]:
    """The features of a decision that was made before, with the offer that it made."""
    features = _features(candidate, customer_part)
    prices = world.price_list(candidate.spec, candidate.variant)
    return with_offer(features, offer) if prices.chooses else features


def rank(rivals: list[Candidate]) -> None:
    """Put what is worth most first; of equals the campaign that comes first by name."""
    if len(rivals) > 1:
        rivals.sort(key=lambda candidate: (-candidate.value, candidate.spec.id))


def _cost(candidate: Candidate, world: World, prices: Prices) -> float:
    """What a message takes from others: its cost at the price of money.

    By the chances of each channel to be chosen.
    """
    costs = world.policy.channel_cost
    spent = sum(
        share * costs.get(channel, 0.0) * prices.factor(channel)
        for share, channel in zip(candidate.shares, candidate.channels, strict=True)
    )
    return spent / sum(candidate.shares)


def _features(candidate: Candidate, customer_part: list[float]) -> list[float]:
    trigger = candidate.trigger
    return campaign_features(
        customer_part,
        candidate.profile,
        candidate.spec,
        trigger.item,
        trigger.category,
        trigger.brand,
        trigger.price,
        candidate.at_ms,
    )


def _prior(policy: Policy) -> float:
    return policy.prior_alpha / (policy.prior_alpha + policy.prior_beta)
