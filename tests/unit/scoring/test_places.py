"""Kinds that look beside the customer: at shops, hours, dates, stock and lists; and the index."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from schemas import topics, triggers
from schemas.control import (
    Campaign,
    CatalogueItem,
    Forecast,
    ItemList,
    ItemSales,
    Shop,
    control_key,
)
from schemas.errors import RefusedControl
from schemas.event import Location
from schemas.triggers import Point, Span
from schemas.wire import encode
from scoring.campaigns.grid import PlaceGrid, distance_m
from scoring.world import World
from state.book import Book
from state.fact import Fact
from tests.builders import DAY, HOUR, MINUTE, on_cart
from tests.harness import NOON_MS, Harness, consenting, control, event
from tests.kinds import BERGEN, OSLO, day, let_pass


def campaign(trigger: triggers.Trigger, **fields: Any) -> Campaign:
    return on_cart(**{"id": "it", "trigger": trigger, **fields})


def stream_of(*records: Any, at_ms: int = NOON_MS - MINUTE) -> Harness:
    stream = Harness([day(), *records])
    stream.send(consenting(ts=at_ms))
    return stream


def seen_at(at_ms: int, place: dict[str, float], **fields: Any) -> dict[str, Any]:
    return event(ts=NOON_MS + at_ms, location=place | fields)


@pytest.mark.parametrize("seed", range(6))
def test_the_nearest_of_thousands_of_places_is_the_one_that_a_search_of_all_finds(
    seed: int,
) -> None:
    draw = random.Random(seed)
    middle = [(0.0, 0.0), (60.0, 10.0), (89.99, 0.0), (-75.0, 179.99), (51.0, -180.0), (-90.0, 5.0)]
    lat, lon = middle[seed]
    places = {
        f"s{n}": (
            max(-90.0, min(90.0, lat + draw.gauss(0, 0.3))),
            (lon + draw.gauss(0, 0.5) + 180) % 360 - 180,
        )
        for n in range(3_000)
    }
    grid = PlaceGrid()
    for name, place in places.items():
        grid.put(name, *place)
    for _ in range(60):
        here = (
            max(-90.0, min(90.0, lat + draw.gauss(0, 0.3))),
            (lon + draw.gauss(0, 0.5) + 180) % 360 - 180,
        )
        radius = draw.choice([50.0, 500.0, 3_000.0, 20_000.0])
        near = min((distance_m(*here, *place), name) for name, place in places.items())
        found = grid.nearest(*here, radius)
        assert (None if found is None else found[0]) == (near[1] if near[0] <= radius else None)


def test_a_shop_that_moves_or_closes_is_no_longer_where_it_was() -> None:
    world = World()
    for shop in (Shop("s1", "kiwi", **OSLO), Shop("s1", "kiwi", **BERGEN, updated_ms=1)):
        world.accept(control_key(shop), encode(shop))
    assert world.shops["kiwi"].nearest(**OSLO, radius_m=3_000.0) is None
    assert world.shops["kiwi"].nearest(**BERGEN, radius_m=3_000.0) is not None
    world.accept("shop/s1", None)
    assert world.shops == {}


def test_a_fence_reaches_three_kilometres_unless_it_says_otherwise() -> None:
    stream = stream_of(campaign(triggers.FenceTrigger(centre=Point(**OSLO))))
    north = {"lat": OSLO["lat"] + 3.1 / 111.2, "lon": OSLO["lon"]}
    near = {"lat": OSLO["lat"] + 2.9 / 111.2, "lon": OSLO["lon"]}
    assert stream.send(seen_at(0, north)) == []
    assert len(stream.send(seen_at(1, near))) == 1
    assert stream.send(seen_at(2, OSLO)) == []


def test_a_fix_that_is_less_exact_than_the_fence_says_nothing() -> None:
    stream = stream_of(campaign(triggers.FenceTrigger(centre=Point(**OSLO), radius_m=100.0)))
    assert stream.send(seen_at(0, OSLO, accuracy_m=101.0)) == []
    assert len(stream.send(seen_at(1, OSLO, accuracy_m=100.0))) == 1


def test_a_stay_that_nobody_saw_go_on_begins_anew() -> None:
    fence = triggers.FenceTrigger("dwell", centre=Point(**OSLO), dwell_ms=20 * MINUTE)
    stream = stream_of(campaign(fence))
    stream.send(seen_at(0, OSLO))
    assert stream.send(seen_at(2 * HOUR, OSLO)) == []
    assert len(stream.send(seen_at(2 * HOUR + 20 * MINUTE, OSLO))) == 1
    assert stream.send(seen_at(2 * HOUR + 40 * MINUTE, OSLO)) == []


def moment(text: str, zone: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1_000)


@pytest.mark.parametrize(
    ("at", "speaks"),
    [
        ("2026-03-28T13:59:59", False),
        ("2026-03-28T14:00:00", True),
        ("2026-03-29T14:30:00", True),  # clocks went forward that morning
        ("2026-03-29T16:00:00", False),
        ("2026-03-30T14:30:00", False),  # a Monday
    ],
)
def test_hours_are_those_of_the_zone_and_its_weekdays(at: str, speaks: bool) -> None:
    hours = triggers.HoursTrigger(
        ("view",), (Span(14 * 60, 16 * 60),), ("sat", "sun"), "Europe/Oslo"
    )
    at_ms = moment(at, "Europe/Oslo")
    stream = stream_of(campaign(hours), at_ms=at_ms - 1_000)
    decisions = stream.send(event(ts=at_ms))
    assert len(decisions) == speaks
    if speaks:
        assert decisions[0]["expires_at_ms"] == moment(at[:11] + "16:00:00", "Europe/Oslo")


def test_the_quietest_hours_of_a_forecast_are_open_hours_with_the_fewest_visitors() -> None:
    day_ = (0.0,) * 8 + (5.0, 9.0, 9.0, 3.0) + (9.0,) * 8 + (4.0,) + (0.0,) * 3
    stream = stream_of(
        campaign(triggers.HoursTrigger(("view",), forecast="shop")), Forecast("shop", day_ * 7)
    )
    midnight = NOON_MS // DAY * DAY + DAY
    spoken = [hour for hour in range(24) if stream.send(event(ts=midnight + hour * HOUR + MINUTE))]
    assert spoken == [11, 20]


def test_few_may_be_what_lasts_no_more_than_some_days() -> None:
    soon = campaign(triggers.StockTrigger(("view",), cover_days=2.0))
    items = [CatalogueItem("a", stock=20, sales_per_day=9.0), CatalogueItem("b", stock=20)]
    stream = stream_of(soon, *items, CatalogueItem("c", stock=20, sales_per_day=10.0))
    told = [stream.send(event(ts=NOON_MS + n, item_id=item)) for n, item in enumerate("abc")]
    assert [len(decisions) for decisions in told] == [0, 0, 1]


def test_what_the_night_expects_goes_before_what_the_catalogue_says() -> None:
    soon = campaign(triggers.StockTrigger(("view",), cover_days=1.0), cooldown_ms=0)
    stream = stream_of(soon, CatalogueItem("a", stock=20, sales_per_day=1.0))
    looked = 0

    def told() -> int:
        nonlocal looked
        looked += 1
        return len(stream.send(event(ts=NOON_MS + looked, item_id="a")))

    assert told() == 0
    stream.put(ItemSales("a", 30.0, updated_ms=2))
    assert told() == 1
    stream.put(ItemSales("a", 0.0, updated_ms=1))  # of the night before, read again
    assert told() == 1
    stream.put(ItemSales("a", 0.0, updated_ms=3))
    assert told() == 0
    stream.decider.on_control("sales/a", None)
    assert told() == 0


def test_a_lower_price_is_not_wasted_on_what_is_sold_anyhow() -> None:
    quiet = campaign(triggers.HoursTrigger(("view",), (Span(0, 24 * 60),), lasts_days=3.0))
    items = [CatalogueItem(name, stock=60) for name in "abc"] + [CatalogueItem("d")]
    sales = [ItemSales("a", 20.0), ItemSales("b", 19.0), ItemSales("d", 1_000.0)]
    stream = stream_of(quiet, *items, *sales)
    told = [
        len(stream.send(event(f"u{n}", ts=NOON_MS + n, item_id=item, consent={"marketing": True,
            "push": True, "sms": True, "email": True})))
        for n, item in enumerate("abcd")
    ]  # fmt: skip
    assert told == [0, 1, 1, 1]  # of c nothing was ever sold, of d nobody knows the stock


def test_what_is_gone_is_never_advertised_whatever_the_kind() -> None:
    stream = stream_of(on_cart(), CatalogueItem("i1", stock=0))
    assert stream.send(event(action="cart", item_id="i1")) == []
    assert stream.ends()[-1][3:] == ("suppressed", "out_of_stock")


def told(at_ms: int, **traits: Any) -> dict[str, Any]:
    return event(ts=NOON_MS + at_ms, action="login", traits=traits)


def test_a_membership_that_ends_within_fifteen_days_is_spoken_of_at_once() -> None:
    stream = stream_of(campaign(triggers.MembershipTrigger()))
    assert len(stream.send(told(0, member_until_ms=NOON_MS + 3 * DAY))) == 1
    assert stream.send(told(1, member_until_ms=NOON_MS + 3 * DAY)) == []
    assert stream.send(told(2, member_until_ms=NOON_MS - DAY)) == []


def test_a_renewal_moves_the_reminder() -> None:
    stream = stream_of(campaign(triggers.MembershipTrigger()))
    stream.send(told(0, member_until_ms=NOON_MS + 16 * DAY))
    stream.send(told(HOUR, member_until_ms=NOON_MS + 30 * DAY))
    let_pass(stream, 14 * DAY)
    assert stream.outputs[topics.DECISIONS] == []
    let_pass(stream, 15 * DAY)
    [decision] = stream.outputs[topics.DECISIONS]
    assert decision["decided_at_ms"] == NOON_MS + 15 * DAY


def test_reminders_at_two_times_before_one_date_both_come() -> None:
    early = campaign(triggers.OverdueTrigger(), id="early")
    late = campaign(triggers.OverdueTrigger(before_ms=DAY), id="late")
    stream = stream_of(early, late)
    stream.send(told(0, payment_due_ms=NOON_MS + 40 * DAY))
    let_pass(stream, 39 * DAY)
    spoken = [(d["campaign_id"], d["decided_at_ms"]) for d in stream.outputs[topics.DECISIONS]]
    assert spoken == [("early", NOON_MS + 10 * DAY), ("late", NOON_MS + 39 * DAY)]


def test_a_payment_ends_the_wait_for_it_to_be_overdue() -> None:
    stream = stream_of(campaign(triggers.OverdueTrigger()))
    stream.send(told(0, payment_due_ms=NOON_MS + 40 * DAY))
    stream.send(event(ts=NOON_MS + DAY, action="payment"))
    let_pass(stream, 40 * DAY)
    assert stream.outputs[topics.DECISIONS] == []


def test_a_slot_leaves_out_what_is_gone_bought_or_looked_at() -> None:
    slot = campaign(triggers.SlotTrigger(("view",), "alike", by="category", size=2))
    lists = [
        ItemList("alike", ("i1", "i2", "i3", "i4"), of="shoes"),
        ItemList("alike", ("i5",), of=""),
    ]
    stream = stream_of(slot, *lists, CatalogueItem("i2", stock=0))
    stream.send(event(action="purchase", item_id="i3", ts=NOON_MS))
    [about] = stream.send(event(ts=NOON_MS + 1, item_id="i1", item_category="shoes"))
    assert about["item_id"] == "i4"
    [about] = stream.send(event(ts=NOON_MS + 2, item_id="i1", item_category="hats"))
    assert about["item_id"] == "i5"
    stream.send(event(action="purchase", item_id="i5", ts=NOON_MS + 3))
    assert stream.send(event(ts=NOON_MS + 4, item_id="i1", item_category="hats")) == []


def test_a_fact_is_shown_to_the_few_watches_that_want_it() -> None:
    campaigns = [
        campaign(triggers.EventTrigger(("view",)), id=f"c{n}", when=f"item_category = k{n}")
        for n in range(500)
    ]
    fences = [
        campaign(triggers.FenceTrigger(centre=Point(n / 10, 0.0)), id=f"f{n}") for n in range(100)
    ]
    other = campaign(triggers.EventTrigger(("purchase",)))
    world = Harness([*campaigns, *fences, other]).decider.world
    index, book = world.index, Book()
    found = index.wanting(Fact(NOON_MS, 1, 1, "view", category="k7"), book, world)
    assert [spec.id for watch in found for spec in watch.specs] == ["c7"]
    assert list(index.wanting(Fact(NOON_MS, 1, 1, "search"), book, world)) == []
    there = Fact(NOON_MS, 1, 1, "search", location=Location(5.001, 0.0))
    found = index.wanting(there, book, world)
    assert [spec.id for watch in found for spec in watch.specs] == ["f50"]
    assert len(index.listening("view")) == 600


def test_campaigns_that_watch_for_the_same_share_a_watch() -> None:
    campaigns = [campaign(triggers.CountTrigger(("view",), n + 2), id=f"c{n}") for n in range(50)]
    assert len(Harness(campaigns).decider.world.index.watches) == 1


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"when": "colour = red"}, "no `colour`"),
        ({"audience": "trait_city ="}, "="),
        ({"trigger": triggers.SegmentTrigger("no_such_dimension > 1")}, "no_such_dimension"),
        ({"trigger": triggers.SegmentTrigger(" ")}, "trigger.segment: say who"),
        ({"trigger": triggers.FenceTrigger()}, "a fence needs a `centre`"),
        ({"trigger": triggers.StockTrigger(("view",))}, "`at_most` pieces or `cover_days`"),
        (
            {"trigger": triggers.HoursTrigger(("view",), (Span(0, 60),), zone="Mars/Base")},
            "trigger.zone",
        ),
    ],
)
def test_a_campaign_that_cannot_run_is_refused_and_what_ran_goes_on(
    fields: dict[str, Any], fault: str
) -> None:
    world = World()
    sound, broken = on_cart(), on_cart(version=2, updated_ms=1, **fields)
    world.accept(control_key(sound), encode(sound))
    with pytest.raises(RefusedControl, match=fault):
        world.accept(control_key(broken), encode(broken))
    assert world.campaigns == {"on-cart": sound}
    assert len(world.index.watches) == 1


def test_an_older_list_does_not_take_the_place_of_a_newer() -> None:
    world = World()
    for key, value in control(
        ItemList("alike", ("new",), updated_ms=2), ItemList("alike", ("old",), updated_ms=1)
    ):
        world.accept(key, value)
    assert world.lists["alike", ""].items == ("new",)
    world.accept("list/alike/", None)
    assert world.lists == {}
