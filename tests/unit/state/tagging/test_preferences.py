"""Prices, channels, traits, places and devices: what the customer takes to and what they are."""

from __future__ import annotations

from itertools import permutations
from typing import get_args

import pytest

from schemas.event import Device, Location, Traits
from schemas.outcome import NEED_ORDER, OutcomeKind
from state.tagging.channels import KINDS, Channels
from state.tagging.devices import TYPES_LIMIT, Devices
from state.tagging.location import Location as Places
from state.tagging.prices import Prices
from state.tagging.traits import NAMES
from state.tagging.traits import Traits as Known
from tests.facts import DAY, MONDAY, after, fact


def test_prices_are_kept_apart_by_stage() -> None:
    facts = [fact("view", price=price) for price in (10.0, 30.0, 20.0)]
    prices = after(Prices(), [*facts, fact("purchase", price=15.0), fact("view")])
    values = prices.dimensions(MONDAY)
    assert [values[f"price_viewed_{w}"] for w in ("count", "mean", "min", "max", "last")] == [
        *(3, 20.0, 10.0, 30.0, 20.0)
    ]
    assert values["price_bought_mean"] == 15.0
    assert values["price_carted_mean"] is None
    assert values["price_bought_to_viewed_ratio"] == 0.75


def test_a_bargain_is_a_purchase_below_the_mean_viewed_before() -> None:
    prices = after(
        Prices(),
        [
            fact("purchase", price=1.0),
            fact("view", price=10.0),
            fact("purchase", price=9.0),
            fact("purchase", price=10.0),
        ],
    )
    assert prices.dimensions(MONDAY)["price_bargain_share"] == 0.5


def test_every_kind_of_outcome_is_counted_by_its_channel() -> None:
    assert set(KINDS) == set(get_args(OutcomeKind)) - NEED_ORDER
    channels = after(
        Channels(),
        [
            *(fact("delivered", channel="sms") for _ in range(4)),
            fact("clicked", 5_000, channel="sms"),
            fact("converted", 6_000, channel="sms", value=12.5),
            fact("bounced", channel="email"),
        ],
    )
    values = channels.dimensions(MONDAY + 15_000)
    assert values["sms_delivered_count"] == 4
    assert values["sms_click_ratio"] == 0.25
    assert values["sms_last_click_age_s"] == 10.0
    assert values["sms_revenue_total"] == 12.5
    assert values["email_bounced_count"] == 1
    assert values["push_delivered_count"] == 0
    assert values["push_click_ratio"] is None
    assert channels.count("sms", "clicked") == 1


@pytest.mark.parametrize("channel", [None, "pigeon"])
def test_an_outcome_of_no_known_channel_is_counted_nowhere(channel: str | None) -> None:
    assert after(Channels(), [fact("clicked", channel=channel)]) == Channels()


def test_every_trait_of_the_contract_is_kept() -> None:
    assert Traits.__struct_fields__ == (*NAMES, "gone")  # which takes one of them back


def test_the_newest_value_of_each_trait_counts_in_whatever_order_it_comes() -> None:
    facts = [
        fact("login", 1, traits=Traits(city="Oslo", gender="f")),
        fact("login", 2, traits=Traits(city="Bergen")),
        fact("login", 3, traits=Traits(language="nb")),
    ]
    for order in permutations(facts):
        known = after(Known(), order)
        assert (known.get("city"), known.get("gender"), known.get("language")) == (
            *("Bergen", "f", "nb"),
        )


def test_what_follows_from_traits_goes_on_with_time() -> None:
    traits = Traits(birth_year=1990, member_until_ms=MONDAY + 20 * DAY, signup_ms=MONDAY)
    values = after(Known(), [fact("login", traits=traits)]).dimensions(MONDAY + 5 * DAY)
    assert values["trait_age_years"] == 33
    assert values["trait_member_days_left"] == 15.0
    assert values["trait_signup_days"] == 5.0
    assert values["trait_known_ratio"] == pytest.approx(3 / 14)


def test_the_newest_place_counts_and_the_town_met_most() -> None:
    facts = [
        fact(at=at, location=Location(lat=at, lon=1.0, city=city))
        for at, city in ((1, "Oslo"), (2, "Oslo"), (9, "Bergen"), (3, "Oslo"))
    ]
    values = after(Places(), facts).dimensions(MONDAY + 1_009)
    assert (values["location_lat"], values["location_city"]) == (9, "Bergen")
    assert values["location_age_s"] == 1.0
    assert values["location_top_city"] == "Oslo"
    assert values["location_top_city_share"] == 0.75


def test_the_newest_device_counts_and_the_type_used_most() -> None:
    facts = [
        fact(at=at, device=Device(type=type_, os="x")) for at, type_ in ((1, "tv"), (5, "phone"))
    ]
    values = after(Devices(), [*facts, fact(at=2, device=Device(type="tv"))]).dimensions(MONDAY)
    assert (values["device_type"], values["device_os"]) == ("phone", "x")
    assert values["device_top_type"] == "tv"
    assert values["device_types_count"] == 2


def test_rare_device_types_make_room_for_those_often_used() -> None:
    often = [fact(at=n, device=Device(type="phone")) for n in range(9)]
    once = [fact(at=10 + n, device=Device(type=f"t{n}")) for n in range(50)]
    devices = after(Devices(), [*often, *once])
    assert devices.types["phone"] == 9
    assert len(devices.types) <= TYPES_LIMIT + 2
