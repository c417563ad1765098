"""Each gate by itself: when it refuses, with which reason, and what the decision says of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import convert

from schemas import topics
from schemas.control import Campaign, Cap, CatalogueItem, EventTrigger, QuietHours
from schemas.decision import Decision
from schemas.generate import REASONS_FILE
from schemas.pricing import OfferLimits, Pricing
from schemas.reasons import GATES, REASONS, markdown
from schemas.wire import encode
from scoring.features import FEATURES
from scoring.gates import in_order
from scoring.onnx_export import model_record
from scoring.zones import zone
from state.book import DEFERRED_LIMIT, SENDS_LIMIT
from tests.builders import DAY, HOUR, MINUTE, on_cart, policy
from tests.harness import NOON_MS, Harness, consenting, event

GATE_FILES = Path(__file__).resolve().parents[3] / "scoring" / "gates"
NIGHT_MS = round(datetime(2026, 1, 10, 23, tzinfo=UTC).timestamp()) * 1_000
MORNING_MS = NIGHT_MS + 9 * HOUR
QUIET = policy(quiet_hours=QuietHours("22:00", "08:00"))


def on(action: str, **fields: Any) -> Campaign:
    """A campaign that speaks at every event of an action."""
    return on_cart(**{"id": f"on-{action}", "trigger": EventTrigger((action,)), **fields})


def last(stream: Harness) -> tuple[str, str]:
    """End and reason of the newest input."""
    return stream.ends()[-1][3:]


def candidates(stream: Harness) -> list[dict[str, Any]]:
    return [each for each in stream.outputs[topics.AUDIT] if each["kind"] == "candidate"]


def asleep(*campaigns: Campaign, user: str = "ann", house: Any = QUIET) -> Harness:
    """A stream with a consenting customer, at night."""
    stream = Harness([house, *campaigns])
    stream.decider.world.audited_share = 1
    stream.send(consenting(user, NIGHT_MS - HOUR))
    return stream


def test_each_reason_belongs_to_a_gate_and_the_table_is_in_the_order_of_the_gates() -> None:
    places = [list(GATES).index(reason.gate) for reason in REASONS.values()]
    assert places == sorted(places)
    assert {path.stem for path in GATE_FILES.glob("[a-z]*.py")} - {"base"} == set(GATES)


def test_the_document_is_made_from_the_table() -> None:
    assert REASONS_FILE.read_text(encoding="utf-8") == markdown()


def test_reasons_of_several_candidates_come_in_the_order_of_the_table() -> None:
    assert in_order(["lost_arbitration", "no_opt_in", "cooldown"]) == (
        "no_opt_in,cooldown,lost_arbitration"
    )


@pytest.mark.parametrize(
    ("consent", "reason"),
    [
        ({}, "no_purpose"),
        ({"sms": True, "push": True}, "no_purpose"),
        ({"marketing": False, "sms": True}, "no_purpose"),
        ({"marketing": True}, "no_opt_in"),
        ({"marketing": True, "sms": False}, "no_opt_in"),
    ],
)
def test_purpose_and_opt_in_are_asked_apart(consent: dict[str, bool], reason: str) -> None:
    stream = Harness([policy(), on_cart()])
    assert stream.send(event(action="cart", consent=consent)) == []
    assert last(stream) == ("suppressed", reason)


def test_a_complaint_ends_marketing_by_every_channel_at_once() -> None:
    stream = Harness([policy(), on_cart()])
    stream.send(consenting())
    stream.outcome(outcome_id="o", user_id="ann", kind="complained", ts=NOON_MS, channel="sms")
    stream.send(event(action="cart", ts=NOON_MS + 1))
    assert last(stream) == ("suppressed", "no_purpose")


def test_a_channel_whose_messages_come_back_is_left_alone_until_a_new_opt_in() -> None:
    stream = Harness([policy(cap_sends=16, bounce_limit=2), on_cart(channels=("sms",))])
    stream.send(consenting())
    for number in range(2):
        [sent] = stream.send(event(action="cart", ts=NOON_MS + number))
        told = {"outcome_id": f"o{number}", "user_id": "ann", "kind": "bounced"}
        stream.outcome(**told, ts=NOON_MS + number, decision_id=sent["decision_id"])
    stream.send(event(action="cart", ts=NOON_MS + 5))
    assert last(stream) == ("suppressed", "unreachable")
    stream.send(consenting(ts=NOON_MS + 6))
    assert len(stream.send(event(action="cart", ts=NOON_MS + 7))) == 1


def test_a_transactional_message_needs_no_consent_no_daylight_and_no_cap() -> None:
    house = policy(cap_sends=0, quiet_hours=QuietHours(), holdout_ratio=0.5)
    stream = Harness([house, on_cart(message="transactional")])
    said = stream.send(*(event(f"u{n}", "cart", NIGHT_MS) for n in range(20)))
    assert [each["status"] for each in said] == ["send"] * 20
    assert not stream.customer("u1").book.sends


def test_a_transactional_message_goes_besides_the_winner() -> None:
    stream = Harness([policy(), on_cart(), on_cart(id="owed", message="transactional")])
    said = stream.send(consenting(), event(action="cart"))
    assert {each["campaign_id"] for each in said} == {"on-cart", "owed"}


def test_nothing_is_said_about_what_is_sold_out() -> None:
    stream = Harness([policy(), on_cart(), CatalogueItem("boots", stock=0)])
    assert stream.send(consenting(), event(action="cart", item_id="boots")) == []
    assert last(stream) == ("suppressed", "out_of_stock")
    assert len(stream.send(event(action="cart", item_id="hat", ts=NOON_MS + 1))) == 1


def test_a_campaign_is_silent_before_and_after_its_period() -> None:
    stream = Harness([policy(), on_cart(starts_ms=NOON_MS, ends_ms=NOON_MS + HOUR)])
    stream.send(consenting(ts=NOON_MS - 10), event(action="cart", ts=NOON_MS - 1))
    assert last(stream) == ("suppressed", "not_in_period")
    assert len(stream.send(event(action="cart", ts=NOON_MS))) == 1
    stream.send(event(action="cart", ts=NOON_MS + HOUR))
    assert last(stream) == ("suppressed", "not_in_period")


def test_only_the_audience_is_spoken_to() -> None:
    stream = Harness([policy(), on_cart(audience="trait_member_level = gold")])
    stream.send(consenting("ann", traits={"member_level": "gold"}), consenting("bob"))
    assert len(stream.send(event("ann", "cart"), event("bob", "cart"))) == 1
    reasons = [end[4] for end in stream.ends() if end[3] == "suppressed"]
    assert reasons == ["not_in_audience"]


def test_at_night_a_message_waits_for_the_morning_of_the_customers_zone() -> None:
    stream = asleep(on_cart())
    assert stream.send(event(action="cart", ts=NIGHT_MS, item_id="boots")) == []
    assert last(stream) == ("deferred", "deferred")
    [waiting] = candidates(stream)
    assert (waiting["end"], waiting["gate"], waiting["due_ms"]) == (
        "deferred",
        "quiet_hours",
        MORNING_MS,
    )
    stream.tick(MORNING_MS + 2 * MINUTE)
    [said] = stream.outputs[topics.DECISIONS]
    assert (said["decided_at_ms"], said["deferred_ms"]) == (MORNING_MS, 9 * HOUR)
    assert (said["decision_id"], said["item_id"]) == (waiting["decision_id"], "boots")
    assert said["expires_at_ms"] == MORNING_MS + 14 * HOUR  # when the next night begins
    assert stream.customer("ann").book.deferred == {}


def test_a_deferred_message_is_asked_everything_again() -> None:
    stream = asleep(on_cart())
    stream.send(event(action="cart", ts=NIGHT_MS))
    stream.send(event(action="login", ts=NIGHT_MS + HOUR, consent={"marketing": False}))
    stream.tick(MORNING_MS + 2 * MINUTE)
    assert stream.outputs[topics.DECISIONS] == []
    assert candidates(stream)[-1]["reason"] == "no_purpose"


def test_a_zone_that_was_told_later_moves_the_morning() -> None:
    stream = asleep(on_cart())
    stream.send(event(action="cart", ts=NIGHT_MS))
    stream.send(event(action="login", ts=NIGHT_MS + HOUR, traits={"zone": "America/New_York"}))
    stream.tick(NIGHT_MS + DAY - HOUR)
    [said] = stream.outputs[topics.DECISIONS]
    assert said["decided_at_ms"] == MORNING_MS + 5 * HOUR
    assert zone("America/New_York") is not None


def test_a_purchase_cancels_what_waits_and_says_so_for_every_customer() -> None:
    stream = asleep(on_cart(trigger=EventTrigger(("cart",), unless=("purchase",))))
    stream.decider.world.audited_share = 10**18
    stream.send(event(action="cart", ts=NIGHT_MS), event(action="purchase", ts=NIGHT_MS + MINUTE))
    [taken_back] = candidates(stream)
    assert (taken_back["end"], taken_back["reason"]) == ("cancelled", "reason_gone")
    stream.tick(MORNING_MS + DAY)
    assert stream.outputs[topics.DECISIONS] == []


def test_a_purchase_that_comes_too_late_for_campaigns_still_cancels() -> None:
    stream = asleep(on_cart(trigger=EventTrigger(("cart",), unless=("purchase",))))
    stream.send(event(action="cart", ts=NIGHT_MS), event(ts=NIGHT_MS + HOUR))
    stream.send(event(action="purchase", ts=NIGHT_MS + MINUTE))
    assert last(stream) == ("late", "")
    assert stream.customer("ann").book.deferred == {}


def test_a_newer_reason_takes_the_place_of_what_waits() -> None:
    stream = asleep(on_cart())
    first, second = (event(action="cart", ts=NIGHT_MS + n) for n in range(2))
    stream.send(first, second)
    assert candidates(stream)[1]["reason"] == "superseded"
    assert candidates(stream)[1]["trigger_event_id"] == first["event_id"]
    stream.tick(MORNING_MS + DAY)
    [said] = stream.outputs[topics.DECISIONS]
    assert said["trigger_event_id"] == second["event_id"]


def test_a_campaign_that_is_paused_at_night_cancels_what_it_has_waiting() -> None:
    stream = asleep(on_cart())
    stream.send(event(action="cart", ts=NIGHT_MS))
    stream.decider.on_control("campaign/on-cart", encode(on_cart(status="paused")))
    stream.tick(MORNING_MS + DAY)
    assert stream.outputs[topics.DECISIONS] == []
    assert candidates(stream)[-1]["reason"] == "campaign_gone"


def test_a_reason_that_does_not_last_until_the_morning_is_not_kept() -> None:
    stream = asleep(on_cart(expires_after_ms=HOUR))
    stream.send(event(action="cart", ts=NIGHT_MS))
    assert last(stream) == ("suppressed", "stale_by_morning")


def test_a_campaign_may_drop_at_night() -> None:
    stream = asleep(on_cart(quiet_hours="drop"))
    stream.send(event(action="cart", ts=NIGHT_MS))
    assert last(stream) == ("suppressed", "quiet_hours")


def test_what_waits_is_bounded() -> None:
    stream = asleep(*(on(f"act{n}") for n in range(DEFERRED_LIMIT + 1)))
    stream.send(*(event(action=f"act{n}", ts=NIGHT_MS + n) for n in range(DEFERRED_LIMIT + 1)))
    assert last(stream) == ("suppressed", "too_many_waiting")
    assert len(stream.customer("ann").book.deferred) == DEFERRED_LIMIT


def test_of_all_that_waited_one_goes_out_in_the_morning() -> None:
    stream = asleep(on("act0"), on("act1"), on("act2"))
    stream.send(*(event(action=f"act{n}", ts=NIGHT_MS + n) for n in range(3)))
    stream.tick(MORNING_MS + DAY)
    assert len(stream.outputs[topics.DECISIONS]) == 1
    lost = [each for each in candidates(stream) if each["reason"] == "lost_arbitration"]
    assert len(lost) == 2


@pytest.mark.parametrize(
    ("caps", "reason"),
    [
        ((Cap(1, HOUR),), "global_cap"),
        ((Cap(1, HOUR, category="sale"),), "category_cap"),
        ((Cap(1, HOUR, channel="sms"),), "channel_cap"),
        ((Cap(1, per="day"),), "global_cap"),
        ((Cap(1, per="month", channel="sms", category="sale"),), "channel_cap"),
        ((Cap(1, HOUR, category="other"), Cap(1, HOUR, channel="push")), ""),
    ],
)
def test_a_cap_counts_what_it_is_about(caps: tuple[Cap, ...], reason: str) -> None:
    stream = Harness([policy(caps=caps), on_cart(category="sale", channels=("sms",))])
    stream.send(consenting(), event(action="cart"), event(action="cart", ts=NOON_MS + 1))
    assert stream.ends()[-1][4] == reason


def test_a_capped_channel_leaves_the_others() -> None:
    stream = Harness([policy(caps=(Cap(0, HOUR, channel="sms"),)), on_cart()])
    said = stream.send(consenting(), *(event(action="cart", ts=NOON_MS + n) for n in range(12)))
    assert {each["channel"] for each in said} == {"push", "email"}


@pytest.mark.parametrize(
    ("kinds", "after_ms", "opens"),
    [
        (["bounced"], HOUR, True),
        (["bounced"], 2 * HOUR + 1, False),  # time has confirmed it
        (["delivered", "bounced"], HOUR, False),  # its arrival has
        (["delivered"], HOUR, False),
    ],
)
def test_a_message_that_bounced_in_time_counts_no_more(
    kinds: list[str], after_ms: int, opens: bool
) -> None:
    stream = Harness([policy(cap_sends=1, reservation_ms=2 * HOUR), on_cart()])
    [sent] = stream.send(consenting(), event(action="cart"))
    at_ms = NOON_MS + after_ms
    for number, kind in enumerate(kinds):
        told = {"outcome_id": f"o{number}", "user_id": "ann", "kind": kind}
        stream.outcome(**told, ts=at_ms, decision_id=sent["decision_id"])
    assert bool(stream.send(event(action="cart", ts=at_ms + 1))) == opens


def test_more_than_can_be_remembered_is_refused_and_not_forgotten() -> None:
    house = policy(caps=(Cap(64, DAY, channel="email"), Cap(64, 30 * DAY, category="other")))
    stream = Harness([house, on_cart(channels=("sms",))])
    stream.send(consenting())
    events = [event(action="cart", ts=NOON_MS + n) for n in range(SENDS_LIMIT + 1)]
    assert len(stream.send(*events)) == SENDS_LIMIT
    assert last(stream) == ("suppressed", "cap_memory")


def test_the_campaign_that_is_worth_most_wins_and_the_decision_names_the_losers() -> None:
    rich, poor = Pricing(order_value=500.0), Pricing(order_value=5.0)
    stream = Harness(
        [
            policy(),
            on_cart(id="a-poor", pricing=poor),
            on_cart(id="b-rich", pricing=rich),
            on_cart(id="c-shut", channels=("email",)),
        ]
    )
    consent = {"marketing": True, "push": True}
    [said] = stream.send(event(action="cart", consent=consent))
    assert said["campaign_id"] == "b-rich"
    expected = said["score"] * 0.05 * 500 * 0.3 - 0.002
    assert said["value"] == pytest.approx(expected)
    assert [(each["campaign_id"], each["gate"], each["reason"]) for each in said["losers"]] == [
        ("a-poor", "arbitration", "lost_arbitration"),
        ("c-shut", "consent", "no_opt_in"),
    ]
    assert last(stream) == ("decided", "no_opt_in,lost_arbitration")


def test_a_dear_channel_lowers_what_a_campaign_is_worth() -> None:
    stream = Harness(
        [policy(), on_cart(id="a-sms", channels=("sms",)), on_cart(id="b-push", channels=("push",))]
    )
    [said] = stream.send(consenting(), event(action="cart"))
    assert said["campaign_id"] == "b-push"


def test_a_score_below_the_campaigns_least_and_an_offer_that_cannot_be_are_refused() -> None:
    limits = OfferLimits("coupon", least_ratio=0.5, most_ratio=0.6)
    dear = Pricing(margin_ratio=0.1, choices=(limits,))
    stream = Harness([policy(), on("cart", min_score=0.5), on("view", pricing=dear)])
    stream.send(consenting(), event(action="cart"))
    assert last(stream) == ("suppressed", "low_score")
    stream.send(event(action="view", ts=NOON_MS + 1))
    assert last(stream) == ("suppressed", "no_offer")


def test_a_decision_says_in_words_what_moved_its_score() -> None:
    weights = [0.0] * len(FEATURES)
    weights[FEATURES.index("events_log")] = 0.5
    weights[FEATURES.index("discount_ratio")] = -3.0
    stream = Harness([policy(), on_cart(), model_record(weights, -2.0, "m")])
    [said] = stream.send(consenting(), event(action="cart"))
    assert said["because"] == ["events ever, log: odds x 1.73"]
    assert said["model_version"] == "m"


def test_the_same_event_that_comes_again_after_it_was_forgotten_decides_nothing() -> None:
    stream = Harness([policy(cap_sends=16), on_cart()])
    cart = event(action="cart")
    assert len(stream.send(consenting(), cart)) == 1
    stream.send(*(event(ts=NOON_MS + n * MINUTE) for n in range(400)))
    assert stream.send({**cart, "ts": NOON_MS + 400 * MINUTE}) == []
    assert last(stream) == ("suppressed", "already_decided")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"default_zone": "Mars/Base"}, "default_zone"),
        ({"quiet_hours": QuietHours("08:00", "08:00")}, "08:00 to 08:00"),
        ({"caps": (Cap(1),)}, "caps"),
        ({"caps": (Cap(1, HOUR), Cap(1, HOUR, per="day"))}, r"caps\[1\]"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused_and_the_running_one_stays(
    fields: dict[str, Any], complaint: str
) -> None:
    stream = Harness([policy(version=7)])
    [letter] = stream.decider.on_control("policy/main", encode(policy(version=8, **fields)))
    assert b"refused_control" in letter.value
    assert complaint.replace("\\", "").encode() in letter.value
    assert stream.decider.world.policy.version == 7


def test_a_deferred_decision_that_was_published_before_a_crash_is_made_again_at_its_time() -> None:
    first = asleep(on_cart())
    opening, cart = consenting(ts=NIGHT_MS - HOUR), event(action="cart", ts=NIGHT_MS)
    first.send(cart)
    first.tick(MORNING_MS + HOUR)
    [published] = first.outputs[topics.DECISIONS]
    second = Harness([QUIET, on_cart()], sealed=[convert({**published, "value": 9.5}, Decision)])
    assert second.send(opening, cart) == []
    second.tick(MORNING_MS + HOUR)
    [again] = second.outputs[topics.DECISIONS]
    assert (again["decided_at_ms"], again["value"]) == (MORNING_MS, 9.5)
