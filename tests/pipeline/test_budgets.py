"""A budget is spent to the unit by all shards together, through the JVM-free stream."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from msgspec import convert

from jobs.sandbox import Sandbox
from operators.shard import shard_of
from schemas.budget import Allowance, Budget, Lease
from schemas.topics import CONTROL, DECISIONS, EVENTS
from schemas.wire import encode
from tests.builders import MINUTE, on_cart, policy
from tests.harness import NOON_MS, Harness, consenting, control, event

COST = 0.05
USERS = [f"u{number}" for number in range(24)]
RULES = policy(caps=(), channel_cost={"sms": COST, "push": COST})


def campaign(messages: int, **fields: Any) -> Any:
    budget = Budget(total=messages * COST, pace="none")
    return on_cart(**{"channels": ("sms", "push"), "budget": budget, **fields})


def arrived(harness: Harness) -> None:
    harness.send(*(consenting(user, NOON_MS - MINUTE) for user in USERS))


def wave(number: int) -> list[Any]:
    """Everybody's cart in some minute; the same events whenever asked."""
    ts = NOON_MS + number * MINUTE
    return [event(user, "cart", ts, event_id=f"{user}-{number}") for user in USERS]


def contents(harness: Harness) -> dict[str, list[dict[str, Any]]]:
    """Decision id → every content with which it was published."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in harness.outputs[DECISIONS]:
        if each not in found[each["decision_id"]]:
            found[each["decision_id"]].append(each)
    return found


@pytest.mark.parametrize("messages", [0, 1, 3, 37])
def test_four_shards_send_exactly_what_the_budget_pays_for(messages: int) -> None:
    harness = Harness([RULES, campaign(messages)])
    arrived(harness)
    for number in range(30):
        harness.send(*wave(number), batch=3)

    assert len({shard_of(user, 4) for user in USERS}) == 4
    assert len(contents(harness)) == messages
    assert {end[3] for end in harness.ends()} >= {"suppressed"}


def test_the_channel_whose_money_is_spent_leaves_the_other() -> None:
    budget = Budget(channels={"sms": Allowance(total=5 * COST)}, pace="none")
    harness = Harness([RULES, campaign(0, budget=budget)])
    arrived(harness)
    for number in range(20):
        harness.send(*wave(number), batch=3)

    sent = [each["channel"] for each in harness.outputs[DECISIONS]]
    assert sent.count("sms") == 5
    assert sent.count("push") > 100


def test_what_bounced_is_paid_back_and_sent_to_somebody_else() -> None:
    harness = Harness([RULES, campaign(10)])
    arrived(harness)
    for number in range(20):
        harness.send(*wave(number))
    assert len(harness.outputs[DECISIONS]) == 10

    for each in harness.outputs[DECISIONS][:4]:
        harness.outcome(
            outcome_id=f"o-{each['decision_id']}",
            user_id=each["user_id"],
            kind="bounced",
            ts=NOON_MS + 20 * MINUTE,
            decision_id=each["decision_id"],
        )
    for number in range(21, 60):
        harness.send(*wave(number))
    assert len(harness.outputs[DECISIONS]) == 14


def test_a_budget_raised_is_spent_and_one_cut_is_not() -> None:
    harness = Harness([RULES, campaign(10)])
    arrived(harness)
    sent = []
    for messages in (10, 16, 4):
        harness.put(campaign(messages, version=len(sent) + 2, updated_ms=len(sent) + 2))
        for number in range(len(sent) * 30, len(sent) * 30 + 30):
            harness.send(*wave(number))
        sent.append(len(harness.outputs[DECISIONS]))
    assert sent == [10, 16, 16]


@pytest.mark.parametrize("saved_at", [0, 1, 4])
@pytest.mark.parametrize("killed_at", [2, 5, 9])
def test_a_kill_and_replay_neither_overspends_nor_contradicts_itself(
    saved_at: int, killed_at: int
) -> None:
    harness = Harness([RULES, campaign(60)])
    arrived(harness)
    saved = harness.checkpoint()
    for number in range(killed_at):
        if number == saved_at:
            saved = harness.checkpoint()
        harness.send(*wave(number), batch=3)
    published = len(contents(harness))

    harness.crash(saved)
    for number in range(min(saved_at, killed_at), 40):
        harness.send(*wave(number), batch=5)

    assert 0 < published <= 60
    assert all(len(each) == 1 for each in contents(harness).values())
    assert len(contents(harness)) == 60


def test_state_that_is_lost_spends_nothing_twice() -> None:
    harness = Harness([RULES, campaign(100)])
    arrived(harness)
    for number in range(2):
        harness.send(*wave(number))
    before = len(contents(harness))

    harness.start_fresh()
    arrived(harness)
    for number in range(3, 60):
        harness.send(*wave(number))

    assert 0 < before < 100
    assert before < len(contents(harness)) <= 100


def test_the_sandbox_spends_what_the_stream_has_not_borrowed() -> None:
    harness = Harness([RULES, campaign(40)])
    arrived(harness)
    harness.send(*wave(0)[:1])
    borrowed = control(
        *(convert(each, Lease) for each in harness.outputs[CONTROL] if each["kind"] == "lease")
    )
    lent = sum(granted for granted, _ in loans_of(harness))

    opted_in = [consenting(user, NOON_MS - MINUTE) for user in USERS]
    for known, left in (([], 40), (borrowed, 40 - lent)):
        sandbox = Sandbox([*control(RULES, campaign(40)), *known])
        said = [
            sandbox.take(EVENTS, one["user_id"], encode(one), one["ts"])
            for one in (*opted_in, *wave(1), *wave(2))
        ]
        assert 0 < left == sum(len(each.decisions) for each in said)


def loans_of(harness: Harness) -> list[tuple[int, int]]:
    """Lent and taken back of each shard, in messages, as the newest record has them."""
    newest = [each for each in harness.outputs[CONTROL] if each["kind"] == "lease"][-1]
    return [
        (lent // 50_000, taken // 50_000)
        for channel in newest["channels"].values()
        for day in channel["days"].values()
        for lent, taken in day.values()
    ]


def test_loans_are_published_under_one_key() -> None:
    harness = Harness([RULES, campaign(5)])
    arrived(harness)
    harness.send(*wave(0))
    loans = [each for each in harness.outputs[CONTROL] if each["kind"] == "lease"]
    assert loans
    assert {each["campaign_id"] for each in loans} == {"on-cart"}
