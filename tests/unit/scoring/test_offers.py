"""Which offer is made: never beyond a limit, and always the one that earns most."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.control import Campaign, CatalogueItem, control_key
from schemas.decision import Offer
from schemas.errors import RefusedControl
from schemas.pricing import LearnedResponse, OfferLimits, PriceResponse, Pricing
from schemas.wire import encode
from scoring.features import FEATURE_HASH, FEATURES
from scoring.model import LogisticModel, prior_model
from scoring.offers import (
    BARGAIN_SHARE,
    DISCOUNT,
    DISCOUNT_FOR_BARGAINER,
    Moment,
    Priced,
    PriceList,
    best_offer,
    discount_at,
    with_offer,
)
from scoring.world import World
from tests.builders import on_cart

COUPON = OfferLimits("coupon", 0.05, 0.30)
SOME = Moment(click_logit=-3.0, click_slope=0.5, bargain_share=0.25, price=80.0, margin_ratio=0.4)

ratios = st.floats(0, 1)
limits = st.builds(
    OfferLimits,
    type=st.sampled_from(["none", "coupon", "cash_back", "gift"]),
    least_ratio=st.sampled_from([0.0, 0.05, 0.1]),
    most_ratio=st.sampled_from([0.1, 0.125, 0.3, 0.9]),
    step_ratio=st.sampled_from([0.001, 0.01, 0.025, 0.07]),
    cost=st.sampled_from([0.0, 0.5, 4.9]),
    appeal=st.floats(-2, 2),
)
responses = st.builds(
    PriceResponse,
    conversion_ratio=st.floats(0.001, 0.9),
    per_discount=st.floats(0, 60),
    per_bargain=st.floats(0, 60),
)
pricings = st.builds(
    Pricing,
    order_value=st.floats(1, 500),
    margin_ratio=ratios,
    least_margin_ratio=st.floats(0, 0.9),
    response=responses,
    choices=st.lists(limits, min_size=1, max_size=4, unique_by=lambda each: each.type).map(tuple),
    explore_ratio=st.sampled_from([0.0, 0.2]),
)
moments = st.builds(
    Moment,
    click_logit=st.floats(-8, 3),
    click_slope=st.floats(-5, 20),
    bargain_share=ratios,
    price=st.none() | st.just(0.0) | st.floats(0.01, 1e6),
    margin_ratio=st.none() | ratios,
)


def campaign(pricing: Pricing) -> Campaign:
    return on_cart(pricing=pricing, offer=Offer("coupon", 0.1, 7))


def one(limits: OfferLimits = COUPON, **fields: object) -> Pricing:
    response = PriceResponse(0.1, 12.0, 8.0)
    return Pricing(**{"response": response, "choices": (limits,), **fields})


def chosen(pricing: Pricing, moment: Moment = SOME, decision_id: str = "d") -> Priced:
    found = PriceList(campaign(pricing)).choose(moment, decision_id)
    assert found is not None
    return found


def kept(priced: Priced, price: float) -> float:
    """The share of what the customer pays that is left to the shop."""
    return priced.margin / (price * (1 - priced.offer.discount_ratio))


@given(pricings, moments, st.text(max_size=8))
def test_an_offer_stays_within_its_limits_and_leaves_the_least_margin(pricing, moment, name):
    found = PriceList(campaign(pricing)).choose(moment, name)
    assume(found is not None)
    allowed = {each.type: each for each in pricing.choices}[found.offer.type]
    discount = found.offer.discount_ratio
    assert allowed.least_ratio <= discount <= allowed.most_ratio
    steps = (discount - allowed.least_ratio) / allowed.step_ratio
    assert steps == pytest.approx(round(steps), abs=1e-6)
    if discount or allowed.cost:
        price = moment.price or pricing.order_value
        assert kept(found, price) >= pricing.least_margin_ratio - 1e-9


@given(pricings, moments)
def test_bisection_finds_what_trying_every_allowed_offer_finds(pricing, moment):
    prices = PriceList(campaign(replace(pricing, explore_ratio=0.0)))
    found = prices.choose(moment)
    price = moment.price or pricing.order_value
    margin_ratio = pricing.margin_ratio if moment.margin_ratio is None else moment.margin_ratio
    response = pricing.response
    slope = response.per_discount + response.per_bargain * moment.bargain_share
    base = math.log(response.conversion_ratio / (1 - response.conversion_ratio))
    values = []
    for each in pricing.choices:
        for step in range(math.floor((each.most_ratio - each.least_ratio) / each.step_ratio + 2)):
            d = discount_at(each, step)
            margin = price * (margin_ratio - d) - each.cost
            free = d == 0 and each.cost == 0
            least = pricing.least_margin_ratio * price * (1 - d) - 1e-12 * price
            if d <= each.most_ratio and (free or margin >= least):
                click = 1 / (1 + math.exp(-moment.click_logit - moment.click_slope * (d - 0.1)))
                order = 1 / (1 + math.exp(-base - each.appeal - slope * d))
                values.append(click * order * margin)
    if found is None:
        assert values == []
    else:
        assert found.expected_margin == pytest.approx(max(values), rel=1e-9, abs=1e-12)


@given(pricings, moments, st.floats(0, 30), st.floats(0, 30))
def test_a_stronger_response_never_lowers_the_expected_margin(pricing, moment, more, bargain):
    pricing = replace(pricing, explore_ratio=0.0)
    response = pricing.response
    stronger = replace(
        response,
        per_discount=response.per_discount + more,
        per_bargain=response.per_bargain + bargain,
    )
    before = PriceList(campaign(pricing)).choose(moment)
    after = PriceList(campaign(replace(pricing, response=stronger))).choose(moment)
    assume(before is not None)
    assert after is not None
    assert after.expected_margin >= before.expected_margin * (1 - 1e-12)


@given(st.floats(0.01, 0.6), st.floats(1.01, 3), st.floats(0, 40), moments)
def test_who_is_surer_to_buy_gets_no_larger_discount(conversion, times, slope, moment):
    sure = min(0.95, conversion * times)
    assume(sure > conversion * 1.01)
    discounts = [
        chosen(
            one(
                OfferLimits("coupon", 0.0, 0.5),
                response=PriceResponse(base, slope, 0.0),
                margin_ratio=0.6,
            ),
            replace(moment, margin_ratio=None),
        ).offer.discount_ratio
        for base in (conversion, sure)
    ]
    assert discounts[0] >= discounts[1]


@given(st.floats(0.05, 0.9), st.floats(0.01, 0.1), moments)
def test_what_earns_more_gets_no_smaller_discount(margin, more, moment):
    pricing = one(OfferLimits("coupon", 0.0, 0.9), least_margin_ratio=0.05)
    low, high = (
        chosen(pricing, replace(moment, margin_ratio=ratio)).offer.discount_ratio
        for ratio in (margin, margin + more)
    )
    assert low <= high


def test_a_customer_whom_no_discount_moves_gets_the_smallest():
    unmoved = one(response=PriceResponse(0.1, 0.0, 0.0))
    found = chosen(unmoved, replace(SOME, click_slope=0.0))
    assert found.offer == Offer("coupon", 0.05, 7)


def test_a_bargain_hunter_gets_a_larger_discount_than_others():
    pricing = one(response=PriceResponse(0.05, 4.0, 20.0))
    few, many = (
        chosen(pricing, replace(SOME, bargain_share=share)).offer.discount_ratio
        for share in (0.0, 1.0)
    )
    assert few < many


def test_the_type_is_chosen_by_what_it_earns_too():
    postage = OfferLimits("free_shipping", cost=4.9, appeal=0.9)
    pricing = replace(one(), choices=(COUPON, postage), response=PriceResponse(0.1, 3.0))
    assert chosen(pricing, replace(SOME, price=300.0)).offer.type == "free_shipping"
    assert chosen(pricing, replace(SOME, price=6.0)).offer.type == "coupon"


def test_no_offer_is_made_when_none_leaves_the_least_margin():
    prices = PriceList(campaign(one(least_margin_ratio=0.2)))
    assert prices.choose(replace(SOME, margin_ratio=0.22)) is None


def test_the_shops_own_price_is_always_allowed():
    pricing = one(OfferLimits("none", 0.0, 0.3), least_margin_ratio=0.5)
    assert chosen(pricing, replace(SOME, margin_ratio=0.1)).offer == Offer("none", 0.0, 7)


def test_an_offer_as_it_stands_is_refused_only_below_a_least_that_is_stated():
    thin = replace(SOME, margin_ratio=0.12)
    as_it_stands = chosen(Pricing(), thin)
    assert as_it_stands.offer == Offer("coupon", 0.1, 7)
    assert as_it_stands.margin == pytest.approx(80 * 0.02)
    assert PriceList(campaign(Pricing(least_margin_ratio=0.1))).choose(thin) is None


@given(pricings, moments, st.text(max_size=8))
def test_the_same_decision_gets_the_same_offer(pricing, moment, name):
    first = PriceList(campaign(pricing)).choose(moment, name)
    assert PriceList(campaign(pricing)).choose(moment, name) == first


def test_exploring_decisions_draw_every_allowed_offer_and_no_other():
    limits = OfferLimits("coupon", 0.1, 0.5, 0.1)
    pricing = one(limits, explore_ratio=0.2, margin_ratio=0.45, least_margin_ratio=0.1)
    best = chosen(replace(pricing, explore_ratio=0.0), replace(SOME, margin_ratio=None))
    drawn = [
        chosen(pricing, replace(SOME, margin_ratio=None), f"d{n}").offer.discount_ratio
        for n in range(2_000)
    ]
    assert set(drawn) == {0.1, 0.2, 0.3}
    others = sum(discount != best.offer.discount_ratio for discount in drawn)
    assert others / len(drawn) == pytest.approx(0.2 * 2 / 3, abs=0.03)


def test_a_price_of_next_to_nothing_does_no_harm():
    prices = PriceList(campaign(one(OfferLimits("gift", 0.0, 0.1, cost=1.0))))
    assert prices.choose(replace(SOME, price=5e-324)) is None


@pytest.mark.parametrize(
    ("pricing", "fault"),
    [
        (one(OfferLimits("coupon", 0.3, 0.1)), "above its most, 10.0%"),
        (replace(one(), choices=(COUPON, COUPON)), "named twice"),
        (Pricing(explore_ratio=0.1), "names none to choose from"),
    ],
)
def test_limits_that_cannot_be_are_refused_and_what_ran_goes_on(pricing, fault):
    world = World()
    sound, broken = campaign(one()), replace(campaign(pricing), version=2, updated_ms=1)
    world.accept(control_key(sound), encode(sound))
    with pytest.raises(RefusedControl, match=fault):
        world.accept(control_key(broken), encode(broken))
    assert world.campaigns["on-cart"] == sound


def test_a_learned_response_goes_before_the_configured_one_until_it_is_withdrawn():
    world, spec = World(), campaign(one(response=PriceResponse(0.1, 0.0, 0.0)))
    world.accept(control_key(spec), encode(spec))
    before = world.price_list(spec).choose(SOME)
    learned = LearnedResponse(spec.id, PriceResponse(0.02, 40.0, 0.0), 9_000, 400, 5)
    world.accept("response/on-cart", encode(learned))
    after = world.price_list(spec).choose(SOME)
    assert before is not None
    assert after is not None
    assert after.offer.discount_ratio > before.offer.discount_ratio
    world.accept("response/on-cart", None)
    assert world.price_list(spec).choose(SOME) == before


def test_the_models_own_weights_are_its_response_of_clicks():
    weights = [0.0] * len(FEATURES)
    weights[DISCOUNT], weights[DISCOUNT_FOR_BARGAINER] = 3.0, 2.0
    model = LogisticModel("m", FEATURE_HASH, weights, -2.0)
    features = [0.0] * len(FEATURES)
    features[BARGAIN_SHARE] = 0.5
    stated = with_offer(features, Offer("coupon", 0.1))
    item = CatalogueItem("i", price=200.0, margin_ratio=0.5)
    found = best_offer(
        PriceList(campaign(one())), model, stated, model.score(stated), "d", None, item
    )
    assert found is not None
    assert found.click == pytest.approx(model.score(with_offer(stated, found.offer)))
    assert found.margin == pytest.approx(200 * (0.5 - found.offer.discount_ratio))
    dearer = best_offer(
        PriceList(campaign(one())), model, stated, model.score(stated), "d", 100.0, item
    )
    assert dearer is not None
    assert dearer.margin == pytest.approx(100 * (0.5 - dearer.offer.discount_ratio))


def test_without_a_model_the_prior_is_the_click():
    features = [0.0] * len(FEATURES)
    found = best_offer(
        PriceList(campaign(one())), prior_model(0.05), features, 0.05, "d", None, None
    )
    assert found is not None
    assert found.click == pytest.approx(0.05)
