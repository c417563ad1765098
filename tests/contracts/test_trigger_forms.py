"""Every kind of trigger can be written in a campaign file, in human units."""

from typing import get_args

import msgspec
import pytest

from schemas import triggers
from schemas.trigger_forms import TriggerForm
from schemas.units import all_of

WRITTEN = {
    triggers.EventTrigger(("view",), 3, 1_800_000, "item", ("purchase",)): {
        "kind": "event", "actions": ["view"], "at_least": 3, "within": "30m", "same": "item",
        "unless": ["purchase"],
    },
    triggers.AbsenceTrigger(("cart",), ("purchase",), 1_800_000): {
        "kind": "absence", "after": ["cart"], "without": ["purchase"], "within": "30m",
    },
    triggers.CountTrigger(("*",), 20): {"kind": "count", "actions": ["*"], "at_least": 20},
    triggers.SilenceTrigger(("view",), 604_800_000): {
        "kind": "silence", "actions": ["view"], "for": "7d",
    },
    triggers.SeasonedTrigger(("view",), 86_400_000): {
        "kind": "seasoned", "actions": ["view"], "since": "1d",
    },
    triggers.SegmentTrigger("(consent_push) and (cart_open_count > 1)", "exit"): {
        "kind": "segment", "segment": ["consent_push", "cart_open_count > 1"], "on": "exit",
    },
    triggers.CouponTrigger(("view",)): {"kind": "coupon", "actions": ["view"]},
    triggers.FenceTrigger("dwell", triggers.Point(1, 2), None, 500.0, 900_000): {
        "kind": "fence", "on": "dwell", "centre": {"lat": 1, "lon": 2}, "radius": "500m",
        "dwell": "15m",
    },
    triggers.FenceTrigger(chain="bakery"): {"kind": "fence", "chain": "bakery", "radius": "3km"},
    triggers.HoursTrigger(("view",), (triggers.Span(840, 960), triggers.Span(1_320, 1_440))): {
        "kind": "hours", "actions": ["view"], "spans": ["14:00-16:00", "22:00-24:00"],
    },
    triggers.StockTrigger(("view",), 3): {"kind": "stock", "actions": ["view"], "at_most": 3},
    triggers.MembershipTrigger(): {"kind": "membership"},
    triggers.OverdueTrigger(): {"kind": "overdue"},
    triggers.SlotTrigger(("view",), "top"): {"kind": "slot", "actions": ["view"], "list": "top"},
}  # fmt: skip


@pytest.mark.parametrize("trigger", WRITTEN, ids=lambda trigger: type(trigger).__name__)
def test_a_form_becomes_the_trigger_of_the_contract(trigger):
    assert msgspec.convert(WRITTEN[trigger], TriggerForm).trigger() == trigger
    assert msgspec.json.decode(msgspec.json.encode(trigger), type=triggers.Trigger) == trigger


def test_every_kind_of_trigger_has_a_form():
    assert {type(trigger) for trigger in WRITTEN} == set(get_args(triggers.Trigger))


@pytest.mark.parametrize("trigger", WRITTEN, ids=lambda trigger: type(trigger).__name__)
def test_a_field_that_a_form_does_not_have_is_refused(trigger):
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({**WRITTEN[trigger], "witin": "1h"}, TriggerForm)


@pytest.mark.parametrize("hours", ["14-16", "25:00-26:00", "14:00", "00:00-24:30"])
def test_hours_that_no_clock_shows_are_refused(hours):
    with pytest.raises(msgspec.ValidationError, match=r"spans|matching"):
        msgspec.convert({"kind": "hours", "actions": ["view"], "spans": [hours]}, TriggerForm)


def test_a_list_of_conditions_binds_each_as_a_whole():
    assert all_of(("a or b", "c")) == "(a or b) and (c)"
    assert all_of(("a or b",)) == all_of("a or b") == "a or b"
