"""Kinds that watch what a customer does over time: counts, silences, seasons, segments, coupons."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings

from schemas import topics, triggers
from schemas.control import Campaign
from tests.builders import DAY, HOUR, MINUTE, on_cart
from tests.harness import NOON_MS, Harness, consenting, control, event
from tests.kinds import day, let_pass, night
from tests.strategies import raw_events


def campaign(trigger: triggers.Trigger, **fields: Any) -> Campaign:
    return on_cart(**{"id": "it", "trigger": trigger, **fields})


def stream_of(*campaigns: Campaign, at_ms: int = NOON_MS - MINUTE) -> Harness:
    stream = Harness([day(), *campaigns])
    stream.send(consenting(ts=at_ms))
    return stream


def start(stream: Harness, *campaigns: Campaign) -> None:
    for key, value in control(*campaigns):
        stream.decider.on_control(key, value)


def heard(decisions: list[dict[str, Any]]) -> list[str]:
    return [decision["campaign_id"] for decision in decisions]


def views(*moments_ms: int, **fields: Any) -> list[dict[str, Any]]:
    return [event(ts=NOON_MS + at_ms, **fields) for at_ms in moments_ms]


def test_an_alert_of_all_time_comes_once_for_each_threshold() -> None:
    five = campaign(triggers.CountTrigger(("view",), 5), id="five", message="transactional")
    nine = campaign(triggers.CountTrigger(("view",), 9), id="nine", message="transactional")
    stream = stream_of(five, nine)
    told = [heard(stream.send(each)) for each in views(*range(20))]
    assert told == [["five"] if n == 4 else ["nine"] if n == 8 else [] for n in range(20)]
    assert len(stream.customer("ann").book.notes) == 1


def test_what_a_customer_did_before_anybody_counted_counts_of_all_time() -> None:
    stream = stream_of()
    stream.send(*views(*range(30)), event(ts=NOON_MS + 30, action="cart"))
    start(stream, campaign(triggers.CountTrigger(("view",), 32)))
    assert stream.send(*views(40)) == []
    assert heard(stream.send(*views(41))) == ["it"]
    assert stream.send(*views(42, 43)) == []


def test_any_action_is_counted_the_producers_own_as_well() -> None:
    stream = stream_of(campaign(triggers.CountTrigger(("*",), 3)))
    stream.send(event(action="wishlist_opened", ts=NOON_MS))
    assert heard(stream.send(event(action="view", ts=NOON_MS + 1))) == ["it"]


def test_a_late_event_is_counted_and_somebody_else_says_so() -> None:
    stream = stream_of(campaign(triggers.CountTrigger(("view",), 3)))
    stream.send(*views(0, HOUR))
    assert stream.send(*views(1)) == []
    assert stream.ends()[-1][3] == "late"
    assert heard(stream.send(*views(HOUR + 1))) == ["it"]


def test_a_window_holds_what_is_less_than_its_length_apart() -> None:
    stream = stream_of(campaign(triggers.CountTrigger(("view",), 3, HOUR)))
    assert stream.send(*views(0, 10, HOUR)) == []
    assert heard(stream.send(*views(HOUR + 9))) == ["it"]
    assert len(next(iter(stream.customer("ann").book.notes.values())).times) == 3


def test_a_count_asks_for_the_events_that_fit_its_when() -> None:
    dear = campaign(triggers.CountTrigger(("view",), 2), when="price >= 100")
    stream = stream_of(dear)
    assert stream.send(*views(0, 1, price=99.0), *views(2, price=100.0)) == []
    assert heard(stream.send(*views(3, price=250.0))) == ["it"]


def test_a_silence_is_not_broken_by_other_activity() -> None:
    stream = stream_of(campaign(triggers.SilenceTrigger(("purchase",), DAY)))
    stream.send(event(action="purchase", ts=NOON_MS), *views(HOUR, 20 * HOUR))
    let_pass(stream, DAY)
    [decision] = stream.outputs[topics.DECISIONS]
    assert decision["decided_at_ms"] == NOON_MS + DAY


def test_who_never_did_it_is_silent_since_we_know_them_and_told_so_once() -> None:
    stream = stream_of(campaign(triggers.SilenceTrigger(("purchase",), DAY)), at_ms=NOON_MS)
    let_pass(stream, DAY)
    stream.send(*views(DAY + 1, 2 * DAY, 3 * DAY))
    let_pass(stream, 5 * DAY)
    assert len(stream.outputs[topics.DECISIONS]) == 1


def test_campaigns_of_differing_patience_share_one_wait() -> None:
    short = campaign(triggers.AbsenceTrigger(("cart",), ("purchase",), 30 * MINUTE), id="short")
    long = campaign(triggers.AbsenceTrigger(("cart",), ("purchase",), DAY), id="long")
    stream = stream_of(short, long)
    stream.send(event(action="cart", ts=NOON_MS))
    assert len(stream.customer("ann").book.armed) == 1
    let_pass(stream, 30 * MINUTE)
    assert heard(stream.outputs[topics.DECISIONS]) == ["short"]
    let_pass(stream, DAY)
    assert heard(stream.outputs[topics.DECISIONS]) == ["short", "long"]
    assert stream.customer("ann").book.armed == {}


def test_a_season_of_purchases_is_known_from_before_the_campaign() -> None:
    stream = stream_of(at_ms=NOON_MS - 400 * DAY)
    stream.send(event(action="purchase", ts=NOON_MS - 390 * DAY))
    start(stream, campaign(triggers.SeasonedTrigger(("purchase",), 365 * DAY)))
    assert heard(stream.send(event(action="purchase", ts=NOON_MS))) == ["it"]


def test_a_newcomer_is_not_seasoned() -> None:
    stream = stream_of(campaign(triggers.SeasonedTrigger(("purchase",), DAY)))
    stream.send(event(action="purchase", ts=NOON_MS))
    assert stream.send(event(action="purchase", ts=NOON_MS + DAY - 1)) == []
    assert heard(stream.send(event(action="purchase", ts=NOON_MS + DAY))) == ["it"]


def test_who_was_inside_before_the_campaign_came_does_not_enter() -> None:
    inside = campaign(triggers.SegmentTrigger("view_count_24h >= 2"))
    stream = stream_of()
    stream.send(*views(0, 1))
    start(stream, inside)
    assert stream.send(*views(2, 3)) == []


def test_who_becomes_a_member_by_the_first_event_that_is_looked_at_enters() -> None:
    entered = campaign(triggers.SegmentTrigger("cart_count_24h >= 1"))
    stream = stream_of()
    stream.send(*views(0, 1))
    start(stream, entered)
    assert heard(stream.send(event(action="cart", ts=NOON_MS + 2))) == ["it"]
    assert stream.send(event(action="cart", ts=NOON_MS + 3)) == []


def test_a_segment_is_left_by_the_passing_of_time_at_the_very_moment() -> None:
    left = campaign(triggers.SegmentTrigger("tempo_idle_s <= 30m", "exit"))
    stream = stream_of(left, at_ms=NOON_MS)
    stream.send(*views(MINUTE, 10 * MINUTE))
    let_pass(stream, 40 * MINUTE)
    assert stream.outputs[topics.DECISIONS] == []
    let_pass(stream, 40 * MINUTE + 1)
    [decision] = stream.outputs[topics.DECISIONS]
    assert decision["decided_at_ms"] == NOON_MS + 40 * MINUTE + 1


def test_entry_and_exit_of_one_segment_share_a_look() -> None:
    told = [
        campaign(triggers.SegmentTrigger("tempo_idle_s < 30m", on), id=on, message="transactional")
        for on in ("enter", "exit")
    ]
    stream = stream_of(*told, at_ms=NOON_MS)
    assert len(stream.decider.world.index.watches) == 1
    stream.send(*views(MINUTE), *views(2 * HOUR))
    let_pass(stream, 4 * HOUR)
    assert heard(stream.outputs[topics.DECISIONS]) == ["enter", "exit", "enter", "exit"]


def test_a_segment_of_traits_is_looked_at_when_traits_are_told() -> None:
    gold = campaign(triggers.SegmentTrigger("trait_member_level = gold"))
    stream = stream_of(gold)
    [watch] = stream.decider.world.index.watches.values()
    assert watch.needs == "traits"
    stream.send(*views(0, traits={"member_level": "silver"}), *views(1))
    assert heard(stream.send(*views(2, traits={"member_level": "gold"}))) == ["it"]


def test_a_coupon_is_given_again_when_it_is_used_or_no_longer_valid() -> None:
    stream = stream_of(campaign(triggers.CouponTrigger(("view",))))
    assert heard(stream.send(*views(0))) == ["it"]
    assert stream.send(*views(1, 2)) == []
    stream.send(event(action="purchase", ts=NOON_MS + HOUR))
    assert heard(stream.send(*views(2 * HOUR))) == ["it"]
    assert stream.send(*views(2 * HOUR + 7 * DAY - 1)) == []
    assert heard(stream.send(*views(2 * HOUR + 7 * DAY))) == ["it"]


@pytest.mark.parametrize("unless", [("purchase",), ("*",)])
def test_an_event_without_unless_keeps_its_reason(unless: tuple[str, ...]) -> None:
    kept = campaign(triggers.EventTrigger(("cart",)), id="kept", message="marketing")
    lost = campaign(triggers.EventTrigger(("cart",), unless=unless), id="lost")
    stream = Harness([night(), kept, lost])
    stream.send(consenting(), event(action="cart", ts=NOON_MS))
    stream.send(event(action="purchase", ts=NOON_MS + 1))
    assert set(stream.customer("ann").book.deferred) == {"kept"}


_FALLING = ["view_count_1h", "rfm_monetary_30d"]


@given(life=raw_events(max_size=30))
@settings(max_examples=40, deadline=None)
def test_segments_of_one_dimension_speak_as_each_would_alone(life: list[dict[str, Any]]) -> None:
    segments = [
        campaign(
            triggers.SegmentTrigger(f"{name} {sign} {least}", on),
            id=f"s{number}",
            message="transactional",
            channels=("push",),
        )
        for number, (name, sign, least, on) in enumerate(
            product(
                ["view_count_1h", "rfm_monetary_30d"], [">=", ">"], [1, 2, 5], ["enter", "exit"]
            )
        )
    ]
    told = [each | {"user_id": "ann", "event_id": f"e{n}"} for n, each in enumerate(life)]
    end_ms = max((each["ts"] for each in told), default=NOON_MS) + 40 * DAY
    together = Harness([day(), *segments])
    together.send(*told)
    together.tick(end_ms)
    alone = []
    for segment in segments:
        stream = Harness([day(), segment])
        stream.send(*told)
        stream.tick(end_ms)
        alone += stream.outputs[topics.DECISIONS]
    assert _spoken(together.outputs[topics.DECISIONS]) == _spoken(alone)


def _spoken(decisions: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return sorted((each["campaign_id"], each["decided_at_ms"]) for each in decisions)
