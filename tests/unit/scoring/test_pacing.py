"""The night's price of money in the stream: what it ranks by, whom it refuses, when it holds."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.budget import Budget
from schemas.control import Pacing
from schemas.errors import RefusedControl
from schemas.pricing import Pricing
from schemas.topics import DAY_MS
from scoring.gates.arbitration import BELOW_PRICE
from scoring.pacing import HOLDS_MS, Prices
from tests.builders import on_cart, policy
from tests.harness import NOON_MS, Harness, consenting, event

TODAY = datetime.fromtimestamp(NOON_MS / 1_000, UTC).date().isoformat()
DAY_STARTS_MS = NOON_MS - NOON_MS % DAY_MS
RICH = Budget(total=1_000.0, pace="none")
SMS = on_cart(id="a-sms", channels=("sms",), budget=RICH)
PUSH = on_cart(id="b-push", channels=("push",), budget=RICH)
EARNS = 0.05 * 0.05 * 50 * 0.3
"""What a message of these campaigns brings by the prior; a push costs 0.002, a text 0.05."""


def plan(price, day=TODAY, **channels):
    return Pacing("main", day, {}, price, channels, 1)


def decided(*records, at_ms=NOON_MS):
    stream = Harness([policy(), *records])
    stream.send(consenting(ts=at_ms - 1), event(event_id="first", action="cart", ts=at_ms - 1))
    found = stream.send(event(action="cart", ts=at_ms))
    return found[0] if found else None, stream.ends()[-1][3:]


@given(st.floats(0, 1e6), st.dictionaries(st.sampled_from(["sms", "push"]), st.floats(-1e6, 1e6)))
def test_money_is_never_worth_less_than_itself(price, channels):
    prices = Prices(plan(price, **channels))
    for channel in ("sms", "push", "email"):
        assert prices.factor(channel) == max(1.0, price + channels.get(channel, 0.0))
    assert prices.short == any(prices.factor(each) > 1 for each in ("sms", "push", "email"))


def test_without_a_plan_and_with_money_enough_values_are_as_ever_and_nobody_is_refused():
    for records in ([], [plan(0.0)], [plan(1.0, sms=-3.0)]):
        made, _ = decided(SMS, *records)
        assert made["value"] == pytest.approx(EARNS - 0.05)
        assert made["value"] < 0


def test_a_message_is_worth_what_it_brings_less_its_cost_at_the_price_of_money():
    made, _ = decided(PUSH, plan(7.0))
    assert made["value"] == pytest.approx(EARNS - 7 * 0.002)
    made, _ = decided(PUSH, plan(7.0, push=3.0))
    assert made["value"] == pytest.approx(EARNS - 10 * 0.002)


def test_what_brings_less_than_the_price_of_its_cost_is_not_sent_and_says_so():
    made, end = decided(PUSH, plan(EARNS / 0.002 + 0.1))
    assert (made, end) == (None, ("suppressed", BELOW_PRICE))
    made, _ = decided(PUSH, plan(EARNS / 0.002 - 0.1))
    assert made["campaign_id"] == "b-push"


def test_only_who_spends_from_a_budget_is_refused_and_nothing_that_is_owed():
    for other in (
        on_cart(channels=("push",)),
        on_cart(channels=("push",), budget=RICH, message="transactional"),
    ):
        made, _ = decided(other, plan(1_000.0))
        assert made["status"] == "send"


def test_dear_money_turns_the_choice_to_what_costs_less():
    pricing = Pricing(order_value=200.0)
    worth = on_cart(id="a-sms", channels=("sms",), pricing=pricing, budget=RICH)
    assert decided(worth, PUSH)[0]["campaign_id"] == "a-sms"
    assert decided(worth, PUSH, plan(2.5))[0]["campaign_id"] == "b-push"


@pytest.mark.parametrize(
    ("at_ms", "holds"),
    [
        (DAY_STARTS_MS - 1, False),
        (DAY_STARTS_MS, True),
        (DAY_STARTS_MS + HOLDS_MS - 1, True),
        (DAY_STARTS_MS + HOLDS_MS, False),
    ],
)
def test_a_plan_holds_on_its_day_and_until_the_next_night_has_spoken(at_ms, holds):
    assert Prices(plan(2.0)).hold(at_ms) == holds
    made, _ = decided(PUSH, plan(7.0), at_ms=at_ms)
    assert made["value"] == pytest.approx(EARNS - (7 if holds else 1) * 0.002)


def test_a_withdrawn_plan_is_in_force_no_more():
    stream = Harness([policy(), PUSH, plan(1_000.0)])
    stream.decider.on_control("pacing/main", None)
    assert stream.decider.world.prices is None


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        (plan(2.0, day="tomorrow"), "write it as 2026-11-26"),
        (plan(float("inf")), "no finite number"),
        (plan(2.0, sms=float("nan")), "no finite number"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(spoilt, why):
    with pytest.raises(RefusedControl, match=why):
        Prices(spoilt)
