"""The whole product, from an event on Kafka to a decision on Kafka and tags in both views."""

from __future__ import annotations

import hashlib
import time
from itertools import count
from typing import Any

import pytest

from benchmarks.bad_input import BadControl, bad_control, bad_inputs
from benchmarks.live import Live, eventually
from jobs.demo.command import publish
from jobs.ledger import read_ledger
from jobs.run import start_stream, stop_stream
from schemas import topics
from schemas.control import control_key
from schemas.wire import encode
from scoring.features import FEATURES
from scoring.onnx_export import model_record
from tests.judge import by_customer, differences_in_hbase, differences_in_redis
from tests.shop import Shop

pytestmark = [pytest.mark.flink, pytest.mark.stack]

_serial = count()


def next_decision(stream: Live) -> dict[str, Any]:
    """What is decided now for a customer never seen before, who is not held out."""
    while True:
        number = next(_serial)
        customer = {"user_id": f"fresh-{number}", "ts": int(time.time() * 1_000)}
        allowed = {"marketing": True, "sms": True, "push": True, "email": True}
        login = {**customer, "event_id": f"login-{number}", "action": "login", "consent": allowed}
        share = {**customer, "event_id": f"share-{number}", "action": "share"}
        stream.ends(stream.send(login, share))
        for decision in stream.decisions_of(customer["user_id"]):
            if decision["campaign_id"] == "on-share" and decision["status"] == "send":
                return decision


def shop_decisions(stream: Live, shop: Shop) -> set[str]:
    """Ids of what was decided from the shop's events alone."""
    return {
        decision["decision_id"]
        for decision in stream.records(topics.DECISIONS)
        if decision["decided_at_ms"] < shop.closed_ms
    }


def test_tags_in_redis_are_those_of_the_oracle(stream: Live, shop: Shop) -> None:
    assert differences_in_redis(stream.settings, by_customer(shop.events)) == []


def test_tags_and_history_in_hbase_are_those_of_the_oracle(stream: Live, shop: Shop) -> None:
    histories = by_customer(shop.events)
    busiest = sorted(histories, key=lambda user: -len(histories[user]))[:150]

    assert differences_in_hbase(stream.settings, {user: histories[user] for user in busiest}) == []


def test_a_killed_task_manager_loses_nothing_and_contradicts_itself_nowhere(
    stream: Live, shop: Shop
) -> None:
    for ends in stream.ends(shop.places):
        [(end, _)] = ends
        assert end in ("updated", "decided", "suppressed")
    assert all(len(contents) == 1 for contents in stream.contents().values())
    assert shop_decisions(stream, shop), "the shop gave no cause to speak"
    ledger = read_ledger(stream.settings)
    assert ledger.faults == []
    assert ledger.revised == 0


def test_after_a_stop_a_second_replay_is_all_duplicates(stream: Live, shop: Shop) -> None:
    before = shop_decisions(stream, shop)

    savepoint = stop_stream(stream.settings)
    started = start_stream(stream.settings)
    ends = stream.ends(stream.send(*shop.events))

    assert started.resumed == savepoint
    assert ends == [{("duplicate", "")}] * len(shop.events)
    assert shop_decisions(stream, shop) == before
    stream.projected()
    assert differences_in_redis(stream.settings, by_customer(shop.events)) == []


def test_a_click_is_a_reward_and_moves_the_posterior_of_later_decisions(stream: Live) -> None:
    decision = next_decision(stream)
    assert decision["posterior_version"] == 0
    clicked = {
        "outcome_id": "o1",
        "user_id": decision["user_id"],
        "kind": "clicked",
        "ts": int(time.time() * 1_000),
        "decision_id": decision["decision_id"],
    }

    assert stream.ends(stream.send(clicked, topic=topics.OUTCOMES)) == [{("updated", "")}]

    rewards = [r for r in stream.records(topics.REWARDS) if r["campaign_id"] == "on-share"]
    assert [(r["decision_id"], r["kind"]) for r in rewards] == [
        (decision["decision_id"], "clicked")
    ]
    eventually(lambda: next_decision(stream)["posterior_version"] > 0, "nothing was learned")
    learned = {
        (record["channel"], record["alpha"])
        for record in stream.records(topics.CONTROL)
        if record["kind"] == "posterior" and record["campaign_id"] == "on-share"
    }
    assert (decision["channel"], 2.0) in learned


def test_bad_input_is_dead_with_its_reason_and_restarts_nothing(stream: Live) -> None:
    restarts = stream.restarts()
    bad = bad_inputs("unwelcome")
    places = {}
    for topic in topics.INPUTS:
        some = [each for each in bad if each.topic == topic]
        sent = stream.send(*(each.value for each in some), topic=topic)
        places.update(zip((each.name for each in some), sent, strict=True))

    ends = stream.ends(places[each.name] for each in bad)

    assert [(each.name, end) for each, end in zip(bad, ends, strict=True)] == [
        (each.name, {(each.end, each.reason)}) for each in bad
    ]
    letters = {
        (letter["topic"], letter["partition"], letter["offset"]): letter["sha256"]
        for letter in stream.records(topics.DEAD_LETTERS)
    }
    for each in bad:
        if each.end == "dead":
            whole = hashlib.sha256(each.value or b"").hexdigest()
            assert letters[places[each.name]] == whole, each.name  # type: ignore[index]
    assert stream.restarts() == restarts


@pytest.mark.parametrize("bad", [pytest.param(bad, id=bad.name) for bad in bad_control()])
def test_a_bad_control_record_is_a_dead_letter_and_changes_nothing(
    stream: Live, bad: BadControl
) -> None:
    restarts, before = stream.restarts(), next_decision(stream)
    out = _control_letters(stream)

    _send_control(stream, bad.key, bad.value)

    eventually(lambda: _control_letters(stream)[len(out) :] == [bad.reason], "no dead letter")
    after = next_decision(stream)
    for name in ("model_version", "policy_version", "campaign_version"):
        assert after[name] == before[name]
    assert stream.restarts() == restarts


def test_a_good_model_is_swapped_in_without_a_restart(stream: Live) -> None:
    restarts = stream.restarts()
    now_ms = int(time.time() * 1_000)
    model = model_record([0.01] * len(FEATURES), -3.0, "second", updated_ms=now_ms)
    assert next_decision(stream)["model_version"] != "second"

    publish(stream.settings, [model])

    eventually(lambda: next_decision(stream)["model_version"] == "second", "it was not taken up")
    worse = bad_control()[0]
    letters = len(_control_letters(stream))
    _send_control(stream, control_key(model), worse.value)
    eventually(lambda: len(_control_letters(stream)) > letters, "no dead letter")
    decision = next_decision(stream)
    assert (decision["model_version"], decision["degraded"]) == ("second", [])
    assert stream.restarts() == restarts


def _send_control(stream: Live, key: str, value: bytes) -> None:
    from jobs import kafka

    out = kafka.producer(stream.settings)
    out.produce(topics.CONTROL, value, key)
    assert out.flush(30) == 0


def _control_letters(stream: Live) -> list[str]:
    return [
        r["reason"] for r in stream.records(topics.DEAD_LETTERS) if r["topic"] == topics.CONTROL
    ]


def test_the_ledger_of_all_that_balances(stream: Live) -> None:
    stream.ends(stream.send(encode({"not": "an event"})))

    ledger = read_ledger(stream.settings)

    assert ledger.faults == []
    assert all(len(contents) == 1 for contents in stream.contents().values())
