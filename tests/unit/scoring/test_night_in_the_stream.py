"""What the night made steers the stream: segments at once, picks made fresh."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.control import ItemList, Segmentation, SegmentCentre
from schemas.errors import RefusedControl
from schemas.event import TAGS
from schemas.triggers import SegmentTrigger, SlotTrigger
from scoring.campaigns.slot import freshened
from scoring.segments import check_segmentation
from tests.builders import DAY, MINUTE, on_cart
from tests.harness import NOON_MS, Harness, consenting, event
from tests.kinds import day

NIGHT = Segmentation(
    "main",
    ("recency_days", "orders", "money"),
    (1.0, 1.0, 4.0),
    (1.0, 1.0, 1.0),
    (
        SegmentCentre("champions", (2.0, 20.0, 3_000.0)),
        SegmentCentre("newcomers", (1.0, 1.0, 20.0)),
    ),
)


def stream_of(*records: Any) -> Harness:
    stream = Harness([day(), NIGHT, *records])
    stream.send(consenting(ts=NOON_MS - MINUTE))
    return stream


def heard(decisions: list[dict[str, Any]]) -> list[str]:
    return [decision["campaign_id"] for decision in decisions]


def cart(at_ms: int) -> dict[str, Any]:
    return event(ts=NOON_MS + at_ms, action="cart", item_id="a")


def buy(at_ms: int, price: float, **fields: Any) -> dict[str, Any]:
    return event(ts=NOON_MS + at_ms, action="purchase", price=price, **fields)


def tags(at_ms: int, **traits: Any) -> dict[str, Any]:
    return event(ts=NOON_MS + at_ms, action=TAGS, traits=traits)


def test_a_new_customer_belongs_to_the_nearest_segment_at_once():
    stream = stream_of(on_cart(audience="segment = newcomers"))
    assert heard(stream.send(cart(1))) == [], "who bought nothing has no segment"
    stream.send(buy(2, 20.0))
    assert heard(stream.send(cart(3))) == ["on-cart"]


def test_the_nights_own_word_goes_before_the_nearest_centre():
    stream = stream_of(on_cart(audience="segment = champions"))
    stream.send(buy(1, 20.0))
    assert heard(stream.send(cart(2))) == []
    stream.send(tags(3, segment="champions"))
    assert heard(stream.send(cart(4))) == ["on-cart"]


def test_who_enters_a_segment_overnight_sets_off_who_waits_for_it():
    entry = on_cart(id="entry", trigger=SegmentTrigger("trait_segment = champions", "enter"))
    stream = stream_of(entry)
    assert heard(stream.send(cart(1))) == []
    assert heard(stream.send(tags(2, segment="champions"))) == ["entry"]
    assert heard(stream.send(tags(3, segment="champions"))) == []


def test_tags_set_off_nobody_else():
    stream = stream_of(on_cart(trigger=SlotTrigger(("*",), "also")), ItemList("also", ("x",)))
    assert heard(stream.send(tags(1, segment="champions"))) == []
    assert heard(stream.send(event(ts=NOON_MS + DAY // 100, action="login"))) == ["on-cart"]


def test_a_slot_by_customer_shows_what_was_picked_made_fresh_by_the_item_at_hand():
    slot = on_cart(trigger=SlotTrigger(("cart",), "also", "customer", 4))
    lists = (ItemList("also", ("p", "q"), "a"), ItemList("also", ("general",)))
    stream = stream_of(slot, *lists)
    stream.send(tags(1, picks="k q m a"))
    seen = stream.decider.world
    assert seen.lists["also", "a"].items == ("p", "q")
    [decision] = stream.send(cart(2))
    assert decision["item_id"] == "q"
    [other] = stream.send(event(ts=NOON_MS + 3, action="cart", item_id="z"))
    assert other["item_id"] == "k"


@given(
    st.lists(st.sampled_from("abcdef"), unique=True),
    st.lists(st.sampled_from("abcdef"), unique=True),
)
def test_a_fresh_list_has_everything_once_and_what_both_name_first(picks, about):
    mixed = freshened(tuple(picks), tuple(about))
    assert sorted(mixed) == sorted(set(picks) | set(about))
    both = [item for item in picks if item in about]
    assert list(mixed[: len(both)]) == both


@pytest.mark.parametrize(
    "spoilt",
    [
        replace(NIGHT, mean=(1.0,)),
        replace(NIGHT, deviation=(1.0, float("inf"), 1.0)),
        replace(NIGHT, centres=(SegmentCentre("x", (1.0, 2.0)),)),
    ],
)
def test_a_segmentation_that_measures_no_distance_is_refused(spoilt):
    with pytest.raises(RefusedControl, match="want 3 finite numbers"):
        check_segmentation(spoilt)
