"""The account of what was learned finds each thing that may be wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.learning.account import Read, account
from benchmarks.learning.response import Response, percentile, responses
from schemas import topics


class Log(list[Read]):
    """Records as they are published; each topic has one partition."""

    def put(self, topic: str, key: str, value: dict[str, Any] | None, at_ms: int = 0) -> None:
        offset = sum(each.topic == topic for each in self)
        raw = None if value is None else json.dumps(value).encode()
        self.append(Read(topic, 0, offset, at_ms, key, raw))

    def decide(self, name: str, channel: str = "sms", status: str = "send", **more: Any) -> None:
        made = {"decision_id": name, "campaign_id": "c", "channel": channel, "status": status}
        self.put(
            topics.DECISIONS, "u", made | {"posterior_version": 0} | more, more.get("at_ms", 0)
        )
        self.put(topics.EXAMPLES, name, made)

    def answer(
        self, name: str, kind: str, end: str = "updated", at_ms: int = 0, **more: Any
    ) -> None:
        offset = sum(each.topic == topics.OUTCOMES for each in self)
        answer = {"outcome_id": f"{kind}-{name}", "kind": kind, "decision_id": name}
        self.put(topics.OUTCOMES, "u", answer | more, at_ms)
        rows = [[1, 0, offset, end, ""]]
        audit = {"kind": "outcomes", "topics": [topics.EVENTS, topics.OUTCOMES], "rows": rows}
        self.put(topics.AUDIT, "8", audit)

    def reward(self, name: str, kind: str, **more: Any) -> None:
        known = {"decision_id": name, "kind": kind, "campaign_id": "c", "channel": "sms"}
        reward = known | {"outcome_id": f"{kind}-{name}", "value": 0.0} | more
        self.put(topics.REWARDS, "c/sms", reward)

    def learn(
        self, channel: str, seen: float, won: float, version: int = 1, at_ms: int = 0
    ) -> None:
        known = {"kind": "posterior", "campaign_id": "c", "channel": channel, "version": version}
        known |= {"met": [seen], "won": [won]}
        self.put(topics.CONTROL, f"posterior/c/{channel}", known, at_ms)


@pytest.fixture
def log() -> Log:
    """Four messages by SMS, one of which came back, one by push, one held out; one click."""
    log = Log()
    for name in ("d1", "d2", "d3", "d4"):
        log.decide(name)
    log.decide("d5", "push")
    log.decide("d6", status="holdout")
    log.answer("d1", "clicked")
    log.answer("d1", "clicked")
    log.answer("d3", "bounced")
    log.answer("d9", "clicked", "unmatched")
    log.answer("d1", "converted", order_id="o", value=20.0)
    log.reward("d1", "clicked")
    log.reward("d1", "clicked")
    log.reward("d3", "bounced")
    log.reward("d2", "expired")
    log.reward("d1", "converted", order_id="o", value=15.0)
    log.reward("d4", "converted", order_id="o", value=5.0)
    log.learn("sms", 1.0, 0.0)
    log.learn("sms", 3.0, 1.0)
    log.learn("push", 1.0, 0.0)
    return log


def test_an_account_that_is_right_is_found_right(log: Log) -> None:
    found = account(log)
    assert found.right, found
    assert (found.decisions, found.exposures, found.clicks, found.orders) == (6, 4, 1, 1)


WRONG: dict[str, tuple[Callable[[Log], Any], str]] = {
    "a click counted twice": (lambda log: log.learn("sms", 3.0, 2.0), "posterior_differences"),
    "an exposure lost": (lambda log: log.learn("sms", 2.0, 1.0), "posterior_differences"),
    "an arm never learned": (lambda log: log.decide("d7", "email"), "posterior_differences"),
    "an arm withdrawn": (
        lambda log: log.put(topics.CONTROL, "posterior/c/push", None), "posterior_differences"
    ),
    "a click without a reward": (lambda log: log.answer("d2", "clicked"), "rewards_lost"),
    "a reward without a click": (lambda log: log.reward("d4", "clicked"), "rewards_of_nothing"),
    "a reward of two contents": (
        lambda log: log.reward("d1", "clicked", ts=9), "rewards_changed"
    ),
    "two labels": (lambda log: log.reward("d1", "expired"), "labelled_twice"),
    "an order credited twice": (
        lambda log: log.reward("d2", "converted", order_id="o", value=20.0), "orders_wrong"
    ),
    "an order credited to nobody": (
        lambda log: log.answer("d2", "converted", order_id="o2", value=3.0), "orders_wrong"
    ),
    "a decision without an example": (
        lambda log: log.put(
            topics.DECISIONS, "u", {"decision_id": "d8", "status": "holdout"}
        ),
        "examples_lost",
    ),
    "an example of two contents": (
        lambda log: log.put(topics.EXAMPLES, "d1", {"features": [2]}), "examples_changed"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_found(log: Log, what: str) -> None:
    spoil, name = WRONG[what]
    spoil(log)
    found = account(log)
    assert not found.right
    assert getattr(found, name) == 1


def test_a_response_is_from_the_outcome_to_a_decision_that_knows_of_it() -> None:
    log = Log()
    for number in (1, 2):
        log.decide(f"d{number}")
        log.answer(f"d{number}", "clicked", at_ms=1_000 * number)
        log.reward(f"d{number}", "clicked")
    log.learn("sms", 2.0, 1.0, version=3, at_ms=1_200)
    log.learn("sms", 2.0, 2.0, version=5, at_ms=2_100)
    log.decide("d3", posterior_version=2, at_ms=1_100)
    log.decide("d4", "push", posterior_version=9, at_ms=1_150)
    log.decide("d5", posterior_version=4, at_ms=1_250)
    log.decide("d6", posterior_version=5, at_ms=2_300)
    log.decide("d7", posterior_version=4, at_ms=2_400)
    assert responses(log, "c") == [Response(200, 250), Response(100, 300)]
    assert responses(log, "other") == []
    assert [percentile(range(1, 201), p) for p in (50, 99)] == [100, 198]
