"""What one customer's events lead to, campaign by campaign and gate by gate."""

from __future__ import annotations

import pytest

from schemas import topics
from schemas.control import EventTrigger
from tests.builders import DAY, HOUR, MINUTE, abandonment, on_cart, policy, viewed_again, win_back
from tests.harness import NOON_MS, Harness, consenting, event


def views(count: int, start: int = NOON_MS, **fields: object) -> list[dict[str, object]]:
    return [
        event(ts=start + n * MINUTE, item_id=f"i{n}", **{"item_category": "shoes", **fields})
        for n in range(count)
    ]


def test_the_third_view_of_a_category_speaks_and_the_second_does_not() -> None:
    stream = Harness([policy(), viewed_again()])
    assert stream.send(consenting(), *views(2)) == []
    [decision] = stream.send(*views(1, NOON_MS + 5 * MINUTE))
    assert decision["campaign_id"] == "viewed-again"
    assert decision["status"] == "send"
    assert decision["decided_at_ms"] == NOON_MS + 5 * MINUTE
    assert decision["item_category"] == "shoes"


def test_views_of_other_categories_or_outside_the_window_do_not_count() -> None:
    stream = Harness([policy(), viewed_again()])
    assert stream.send(consenting(), *views(2), *views(1, item_category="hats")) == []
    assert stream.send(*views(1, NOON_MS + 3 * HOUR)) == []


def test_a_customer_who_never_consented_hears_nothing_and_the_input_says_why() -> None:
    stream = Harness([policy(), on_cart()])
    assert stream.send(event(action="cart")) == []
    assert stream.ends()[-1][3:] == ("suppressed", "no_purpose")


def test_consent_withdrawn_by_an_event_holds_for_that_very_event() -> None:
    stream = Harness([policy(), on_cart()])
    stream.send(consenting())
    silent = {"marketing": False}
    assert stream.send(event(action="cart", ts=NOON_MS, consent=silent)) == []


def test_a_channel_that_is_not_opted_in_is_never_chosen() -> None:
    stream = Harness([policy(cap_sends=16), on_cart()])
    only_email = {"marketing": True, "email": True}
    stream.send(event(action="login", ts=NOON_MS - 1, consent=only_email))
    decisions = stream.send(*(event(action="cart", ts=NOON_MS + n) for n in range(10)))
    assert {decision["channel"] for decision in decisions} == {"email"}
    assert {decision["propensity"] for decision in decisions} == {1.0}


def test_an_unsubscribe_silences_its_channel_at_once() -> None:
    stream = Harness([policy(cap_sends=16), on_cart(channels=("sms",))])
    [first] = stream.send(consenting(), event(action="cart"))
    stream.outcome(
        outcome_id="o1", user_id="ann", kind="unsubscribed", ts=NOON_MS + 1, channel="sms"
    )
    assert first["channel"] == "sms"
    assert stream.send(event(action="cart", ts=NOON_MS + 2)) == []


def test_the_cooldown_keeps_a_campaign_from_repeating_itself() -> None:
    stream = Harness([policy(), on_cart(cooldown_ms=HOUR)])
    assert len(stream.send(consenting(), event(action="cart"))) == 1
    assert stream.send(event(action="cart", ts=NOON_MS + HOUR - 1)) == []
    assert stream.ends()[-1][3] == "updated"
    assert len(stream.send(event(action="cart", ts=NOON_MS + HOUR))) == 1


def test_the_cap_holds_over_all_campaigns_and_opens_again() -> None:
    other = on_cart(id="other", trigger=EventTrigger(("favourite",)))
    stream = Harness([policy(cap_sends=2, cap_window_ms=DAY), on_cart(), other])
    decisions = stream.send(
        consenting(), event(action="cart"), event(action="favourite", ts=NOON_MS + 1)
    )
    assert len(decisions) == 2
    assert stream.send(event(action="cart", ts=NOON_MS + 2)) == []
    assert stream.ends()[-1][4] == "global_cap"
    assert len(stream.send(event(action="cart", ts=NOON_MS + DAY))) == 1


def test_a_held_out_customer_gets_a_decision_marked_so_and_nothing_to_answer() -> None:
    stream = Harness([policy(), on_cart(holdout_ratio=0.5)])
    users = [f"u{n}" for n in range(200)]
    decisions = stream.send(
        *(consenting(user) for user in users), *(event(user, "cart") for user in users)
    )
    held = {d["user_id"] for d in decisions if d["status"] == "holdout"}
    assert 70 <= len(held) <= 130
    assert all(stream.customer(user).book.exposures[0].holdout for user in held)
    again = stream.send(*(event(user, "cart", NOON_MS + 2 * DAY) for user in users))
    assert {d["user_id"] for d in again if d["status"] == "holdout"} == held


def test_an_abandoned_cart_speaks_when_its_time_has_passed() -> None:
    stream = Harness([policy(), abandonment()])
    cart = event(action="cart", item_id="boots", item_category="shoes")
    assert stream.send(consenting(), cart) == []
    due = NOON_MS + 30 * MINUTE
    [decision] = stream.send(event(action="view", ts=due + MINUTE))
    assert (decision["decided_at_ms"], decision["trigger_event_id"]) == (due, cart["event_id"])
    assert (decision["trigger"], decision["item_id"]) == ("absence", "boots")


def test_a_purchase_in_time_ends_the_wait() -> None:
    stream = Harness([policy(), abandonment()])
    stream.send(consenting(), event(action="cart"), event(action="purchase", ts=NOON_MS + MINUTE))
    assert stream.send(event(action="view", ts=NOON_MS + DAY)) == []


@pytest.mark.parametrize("lag", [30_000, 59_000, 5 * MINUTE])
def test_a_purchase_that_arrives_after_younger_events_still_ends_the_wait(lag: int) -> None:
    stream = Harness([policy(), abandonment()])
    younger = NOON_MS + 10 * MINUTE
    stream.send(consenting(), event(action="cart"), event(action="view", ts=younger))
    stream.send(event(action="purchase", ts=younger - lag))
    assert stream.send(event(action="view", ts=NOON_MS + DAY)) == []


def test_a_cart_that_arrives_after_its_own_purchase_begins_no_wait() -> None:
    stream = Harness([policy(), abandonment()])
    stream.send(consenting(), event(action="purchase", ts=NOON_MS + 5_000))
    stream.send(event(action="cart", ts=NOON_MS))
    assert stream.send(event(action="view", ts=NOON_MS + DAY)) == []


def test_a_further_cart_begins_the_wait_anew() -> None:
    stream = Harness([policy(), abandonment()])
    second = event(action="cart", ts=NOON_MS + 20 * MINUTE)
    stream.send(consenting(), event(action="cart"), second)
    assert stream.send(event(action="view", ts=NOON_MS + 40 * MINUTE)) == []
    [decision] = stream.send(event(action="view", ts=NOON_MS + HOUR))
    assert decision["trigger_event_id"] == second["event_id"]


def test_another_customers_events_make_the_time_pass() -> None:
    stream = Harness([policy(), abandonment()], shards=16)
    stream.send(consenting("ann"), event("ann", "cart"))
    others = [f"u{n}" for n in range(200)]
    decisions = stream.send(*(event(user, ts=NOON_MS + HOUR) for user in others))
    assert [decision["user_id"] for decision in decisions] == ["ann"]


def test_the_wall_clock_makes_the_time_pass_in_a_live_shard_that_is_idle() -> None:
    stream = Harness([policy(), abandonment()])
    stream.send(consenting(), event(action="cart"))
    stream.tick(NOON_MS + 30 * MINUTE)
    assert stream.outputs[topics.DECISIONS] == []
    stream.tick(NOON_MS + 35 * MINUTE)
    assert len(stream.outputs[topics.DECISIONS]) == 1
    stream.tick(NOON_MS + 36 * MINUTE)
    assert len(stream.outputs[topics.DECISIONS]) == 1


def test_a_customer_who_stays_away_for_a_month_is_won_back_once() -> None:
    stream = Harness([policy(), win_back()])
    stream.send(consenting(), event(), event(ts=NOON_MS + DAY))
    stream.tick(NOON_MS + 31 * DAY - 1)
    assert stream.outputs[topics.DECISIONS] == []
    stream.tick(NOON_MS + 31 * DAY + 2 * MINUTE)
    [decision] = stream.outputs[topics.DECISIONS]
    assert decision["decided_at_ms"] == NOON_MS + 31 * DAY


def test_a_click_pays_one_and_silence_pays_nothing_when_the_window_closes() -> None:
    stream = Harness([policy(), on_cart(attribution_window_ms=HOUR)])
    first, second = stream.send(
        consenting(), event(action="cart"), event(action="cart", ts=NOON_MS + 1)
    )
    for _ in range(2):  # the second click of the same exposure is not a second reward
        stream.outcome(
            outcome_id=f"o{_}",
            user_id="ann",
            kind="clicked",
            ts=NOON_MS + 5,
            decision_id=first["decision_id"],
        )
    stream.tick(NOON_MS + 3 * HOUR)
    rewards = [(r["decision_id"], r["kind"], r["reward"]) for r in stream.outputs[topics.REWARDS]]
    assert rewards == [
        (first["decision_id"], "clicked", 1.0),
        (second["decision_id"], "expired", 0.0),
    ]


def test_posteriors_move_with_the_rewards_and_reach_the_next_decision() -> None:
    stream = Harness([policy(cap_sends=16), on_cart(channels=("push",))])
    [first] = stream.send(consenting(), event(action="cart"))
    assert first["posterior_version"] == 0
    stream.outcome(
        outcome_id="o",
        user_id="ann",
        kind="clicked",
        ts=NOON_MS + 5,
        decision_id=first["decision_id"],
    )
    pending, clicked = [p for p in stream.outputs[topics.CONTROL] if p["kind"] == "posterior"]
    assert (pending["alpha"], pending["beta"]) == (1.0, 20.0)
    assert (clicked["alpha"], clicked["beta"]) == (2.0, 19.0)
    [second] = stream.send(event(action="cart", ts=NOON_MS + 10))
    assert second["posterior_version"] == clicked["version"] > pending["version"] > 0


@pytest.mark.parametrize("kind", ["delivered", "opened", "clicked", "bounced"])
def test_an_outcome_of_an_unknown_decision_is_counted_and_pays_nothing(kind: str) -> None:
    stream = Harness([policy(), on_cart()])
    stream.outcome(outcome_id="o", user_id="ann", kind=kind, ts=NOON_MS, decision_id="dnobody")
    assert stream.ends()[-1][3] == "unmatched"
    assert stream.outputs[topics.REWARDS] == []


def test_an_outcome_after_the_window_pays_nothing() -> None:
    stream = Harness([policy(), on_cart(attribution_window_ms=HOUR)])
    [decision] = stream.send(consenting(), event(action="cart"))
    stream.outcome(
        outcome_id="o",
        user_id="ann",
        kind="clicked",
        ts=NOON_MS + HOUR + 1,
        decision_id=decision["decision_id"],
    )
    assert [end[3] for end in stream.ends()][-1] == "unmatched"
    assert stream.outputs[topics.REWARDS] == []


def test_a_bounced_message_teaches_nothing() -> None:
    stream = Harness([policy(), on_cart(attribution_window_ms=HOUR)])
    [decision] = stream.send(consenting(), event(action="cart"))
    stream.outcome(
        outcome_id="o",
        user_id="ann",
        kind="bounced",
        ts=NOON_MS + 1,
        decision_id=decision["decision_id"],
    )
    stream.tick(NOON_MS + 3 * HOUR)
    assert [each["kind"] for each in stream.outputs[topics.REWARDS]] == ["bounced"]
    [*_, last] = [p for p in stream.outputs[topics.CONTROL] if p["kind"] == "posterior"]
    assert (last["alpha"], last["beta"]) == (1.0, 19.0)
    assert not stream.unlabelled
