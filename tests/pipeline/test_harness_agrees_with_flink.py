"""The JVM-free harness, on which most tests rest, does what the real cluster does."""

from __future__ import annotations

import time
from typing import Any

import pytest

from benchmarks.control import shipped
from benchmarks.live import Live
from jobs.views import open_view
from tests.harness import Harness
from tests.shop import Shop, on_share

pytestmark = [pytest.mark.flink, pytest.mark.stack]


@pytest.fixture(scope="module")
def harness(stream: Live, shop: Shop) -> Harness:
    """The harness after the same events under the same campaigns."""
    made = Harness([*shipped(), on_share()])
    now_ms = int(time.time() * 1_000)
    made.send(*shop.events, *shop.closing, ingested_ms=now_ms)
    made.tick(now_ms)  # as Flink's timers do: waits that began in a shard's last batch
    return made


def decided(decisions: list[dict[str, Any]], shop: Shop) -> dict[str, dict[str, Any]]:
    """Decision id → decision, without the moment at which Kafka took the trigger in."""
    users = {event["user_id"] for event in shop.events}
    return {
        decision["decision_id"]: {**decision, "ingested_ms": 0}
        for decision in decisions
        if decision["user_id"] in users and decision["decided_at_ms"] < shop.closed_ms
    }


def differing(
    ours: dict[str, dict[str, Any]], theirs: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Decision id → field → its two contents."""
    return {
        name: {
            field: (ours[name].get(field), theirs[name].get(field))
            for field in ours[name].keys() | theirs[name].keys()
            if ours[name].get(field) != theirs[name].get(field)
        }
        for name in ours
        if ours[name] != theirs[name]
    }


def test_both_make_the_same_decisions(stream: Live, shop: Shop, harness: Harness) -> None:
    in_harness = decided(harness.outputs["beckon.decisions.v1"], shop)
    in_flink = decided(stream.records("beckon.decisions.v1"), shop)

    assert {each["trigger"] for each in in_harness.values()} == {"event", "absence"}
    assert in_flink.keys() == in_harness.keys()
    assert differing(in_flink, in_harness) == {}


def test_both_hold_the_same_profiles(stream: Live, shop: Shop, harness: Harness) -> None:
    view = open_view(stream.settings, "redis")
    users = sorted({event["user_id"] for event in shop.events})

    for user in users[::7]:
        shown = view.read(user)
        assert shown is not None, user
        assert shown.dimensions == harness.profile(user).dimensions(shown.event_ms), user
    view.close()
