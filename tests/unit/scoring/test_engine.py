"""Offers on request are those that the stream makes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.control import Campaign, CatalogueItem
from schemas.decision import Offer
from schemas.errors import UserMistake
from schemas.pricing import OfferLimits, PriceResponse, Pricing
from scoring.budget_plan import ChannelTerms
from scoring.engine import MarketingEngine
from tests.builders import EVEN, on_cart, policy
from tests.harness import NOON_MS, Harness, consenting, event


def coupon(**pricing: Any) -> Campaign:
    """A campaign that chooses a coupon at each cart event."""
    limits = (OfferLimits("coupon", 0.05, 0.3, 0.05), OfferLimits("free_shipping", cost=4.0))
    response = PriceResponse(0.05, per_discount=12.0)
    return on_cart(pricing=Pricing(choices=limits, response=response, **pricing))


def engine(stream: Harness, *known: str) -> MarketingEngine:
    """An engine that knows these customers as the stream does."""
    return MarketingEngine(
        stream.decider.world, lambda user: stream.customer(user) if user in known else None
    )


@given(
    price=st.floats(1, 500),
    margin=st.floats(0.05, 0.9),
    explore=st.sampled_from([0.0, 0.2]),
    views=st.integers(0, 5),
    wait_ms=st.integers(0, 50 * 86_400_000),
)
@settings(max_examples=60, deadline=None)
def test_the_offer_on_request_is_the_offer_on_the_decision(
    price: float, margin: float, explore: float, views: int, wait_ms: int
) -> None:
    campaign = coupon(explore_ratio=explore, margin_ratio=margin)
    item = CatalogueItem("i1", category="c1", price=price)
    stream = Harness([policy(learning=EVEN), campaign, item])
    stream.send(
        consenting(), *[event(action="view", item_id="i1", item_category="c1")] * min(views, 1)
    )
    at_ms = NOON_MS + wait_ms
    [decision] = stream.send(
        event(action="cart", ts=at_ms, event_id="e", item_id="i1", item_category="c1", price=price)
    )
    found = engine(stream, "ann").generate_offer(
        "ann", "on-cart", at_ms, item_id="i1", price=price, event_id="e"
    )
    assert (found.offer_type, found.discount, found.valid_period) == (
        decision["offer"]["type"],
        decision["offer"]["discount_ratio"],
        decision["offer"]["valid_days"],
    )
    assert (found.click, found.expected_value) == (decision["score"], decision["value"])


def test_asking_changes_nothing() -> None:
    stream = Harness([policy(), coupon()])
    stream.send(consenting())
    before = stream.customer("ann").encode()
    first = engine(stream, "ann").generate_offer("ann", "on-cart")
    assert engine(stream, "ann").generate_offer("ann", "on-cart") == first
    assert stream.customer("ann").encode() == before


def test_an_offer_is_valid_for_seven_days_unless_the_campaign_says_otherwise() -> None:
    for campaign, days in ((coupon(), 7), (on_cart(offer=Offer("coupon", 0.1, 3)), 3)):
        stream = Harness([policy(), campaign])
        stream.send(consenting())
        found = engine(stream, "ann").generate_offer("ann", "on-cart", NOON_MS)
        assert found.valid_period == days
        assert found.valid_until_ms == NOON_MS + days * 86_400_000


def test_what_leaves_too_little_is_not_offered_and_the_reason_is_told() -> None:
    limits = (OfferLimits("coupon", 0.2, 0.3),)
    stream = Harness(
        [policy(), on_cart(pricing=Pricing(50.0, 0.1, least_margin_ratio=0.05, choices=limits))]
    )
    stream.send(consenting())
    found = engine(stream, "ann").generate_offer("ann", "on-cart")
    assert (found.reason, found.offer_type, found.discount) == ("no_offer", "none", 0.0)


@pytest.mark.parametrize(
    ("user", "campaign", "said"),
    [
        ("ann", "on-card", "did you mean 'on-cart'"),
        ("ann", "zzz", "in force are: on-cart"),
        ("bob", "on-cart", "nothing is known of customer 'bob'"),
    ],
)
def test_what_cannot_be_offered_is_said_with_its_cause(user: str, campaign: str, said: str) -> None:
    stream = Harness([policy(), coupon()])
    stream.send(consenting())
    with pytest.raises(UserMistake, match=said):
        engine(stream, "ann").generate_offer(user, campaign)


def test_the_budget_is_spread_to_the_optimum() -> None:
    plan = engine(Harness([policy()])).optimize_budget(
        [
            ChannelTerms("feed", 50, 3.2, 10_000, 2_000),
            ChannelTerms("search", 80, 4.5, 6_000, 1_500),
            ChannelTerms("short_video", 30, 2.8, 15_000, 3_000),
        ],
        1_130_000,
    )
    assert plan.contribution == pytest.approx(84_125)
