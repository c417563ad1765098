"""A budget is spent to the unit on the real cluster, though its TaskManager is killed meanwhile."""

from __future__ import annotations

import time
from itertools import count
from typing import Any

import pytest

from benchmarks.live import Live, eventually
from jobs.demo.command import publish
from schemas import topics
from schemas.budget import Budget
from schemas.control import EventTrigger
from tests.builders import on_cart

# The shop's events are years old. They come first, before those of today move the shards' clocks.
pytestmark = [pytest.mark.flink, pytest.mark.stack, pytest.mark.usefixtures("shop")]

MESSAGES = 60
COST = 0.002
USERS = [f"wisher-{number}" for number in range(24)]


def test_four_shards_send_exactly_what_the_budget_pays_for(stream: Live) -> None:
    wished = on_cart(
        id="on-wish",
        name="On wish",
        trigger=EventTrigger(("wish",)),
        channels=("push",),
        message="transactional",  # owed, so that nothing but money holds it back
        budget=Budget(total=MESSAGES * COST, pace="none"),
        updated_ms=int(time.time() * 1_000),
    )
    publish(stream.settings, [wished])
    eventually(lambda: len(sent(stream)) > 0 or wave(stream), "no money was ever lent")
    while len(sent(stream)) < MESSAGES // 3:
        wave(stream)

    before = sent(stream)
    wave(stream, wait=False)
    stream.kill_task_manager()

    def all_spent() -> bool:
        wave(stream)
        return len(sent(stream)) >= MESSAGES

    eventually(all_spent, "some of the budget is never spent")
    for _ in range(3):
        wave(stream)
    assert len(before) < MESSAGES
    assert before.items() <= sent(stream).items()
    assert len(sent(stream)) == MESSAGES
    assert all(len(contents) == 1 for contents in stream.contents().values())


_serial = count()


def wave(stream: Live, *, wait: bool = True) -> bool:
    """Everybody wishes for something now; False, so that it can be waited for."""
    number, now_ms = next(_serial), int(time.time() * 1_000)
    places = stream.send(
        *(
            {"event_id": f"{user}-{number}", "user_id": user, "action": "wish", "ts": now_ms}
            for user in USERS
        )
    )
    if wait:
        stream.ends(places)
    return False


def sent(stream: Live) -> dict[str, Any]:
    """What the campaign sent, by decision."""
    return {
        decision["decision_id"]: decision
        for decision in stream.records(topics.DECISIONS)
        if decision["campaign_id"] == "on-wish" and decision["status"] == "send"
    }
