"""After a crash outcomes count as they did, though they are read in another order than before."""

from __future__ import annotations

from collections import defaultdict
from itertools import permutations
from typing import Any

import msgspec
import pytest

from operators.records import SEPARATOR, Output, Record, in_order
from operators.shard import Decider, DeciderConfig, MemoryStore
from schemas import topics
from schemas.control import Cap
from schemas.decision import Decision
from schemas.wire import encode
from scoring.decide import decision_id
from state.clock import QUIET_MS
from tests.builders import DAY, EVEN, HOUR, on_cart, policy
from tests.harness import NOON_MS, consenting, control, event

RULES = [policy(caps=(Cap(1, DAY),), learning=EVEN), on_cart(channels=("push",))]
SHARD = "shard"


class Shard:
    """One shard on a topic of events and one of outcomes, and all that it has published."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.decisions: list[Decision] = []
        self.ends: defaultdict[tuple[str, int], set[tuple[str, str]]] = defaultdict(set)
        self.rewards: list[str] = []
        self.unread: list[Record] | None = None
        self._offsets: defaultdict[str, int] = defaultdict(int)
        self.start()

    def start(self) -> None:
        """Take the shard up from what the store holds."""
        made = list(self.decisions)
        self._decider = Decider(
            DeciderConfig(),
            control(*RULES),
            lambda _saved_ms: made,
            unread=lambda _saved_ms: self.unread,
        )

    def put(self, topic: str, payload: dict[str, Any], came_ms: int) -> str:
        """A record on a topic."""
        offset = self._offsets[topic]
        self._offsets[topic] += 1
        text = encode(payload).decode("latin-1")
        return SEPARATOR.join((topic, "0", str(offset), str(came_ms), text))

    def read(self, *records: str) -> None:
        """Take records in, a batch each."""
        for record in records:
            self._hear(self._decider.on_batch(SHARD, self.store, [record]))

    def tick(self, now_ms: int) -> None:
        self._hear(self._decider.on_tick(SHARD, self.store, now_ms))

    def _hear(self, outputs: list[Output]) -> None:
        for output in outputs:
            topic, _, raw = output
            if topic == topics.DECISIONS:
                self.decisions.append(msgspec.json.decode(raw, type=Decision))
            if topic == topics.REWARDS:
                self.rewards.append(raw.decode())
            if topic == topics.AUDIT and b'"rows"' in raw:
                told = msgspec.json.decode(raw)
                for place, _, offset, end, reason in told["rows"]:
                    self.ends[told["topics"][place], offset].add((end, reason))


def outcome(name: str, kind: str, ts: int, **fields: Any) -> dict[str, Any]:
    return {"outcome_id": name, "user_id": "ann", "kind": kind, "ts": ts, **fields}


@pytest.fixture
def shard() -> Shard:
    return Shard()


@pytest.fixture
def story(shard: Shard) -> list[str]:
    """A message that bounces, another in its place, an opt-out; and at the end nothing more."""
    first, second = decision_id("ann", "on-cart", "e1"), decision_id("ann", "on-cart", "e2")
    told = [
        (topics.EVENTS, consenting(event_id="e0")),
        (topics.EVENTS, event(action="cart", event_id="e1", ts=NOON_MS)),
        (topics.OUTCOMES, outcome("o1", "bounced", NOON_MS + 1, decision_id=first)),
        (topics.EVENTS, event(action="cart", event_id="e2", ts=NOON_MS + HOUR)),
        (topics.OUTCOMES, outcome("o2", "clicked", NOON_MS + HOUR + 1, decision_id=second)),
        (topics.OUTCOMES, outcome("o3", "unsubscribed", NOON_MS + HOUR + 2)),
        (topics.EVENTS, event(action="cart", event_id="e3", ts=NOON_MS + 2 * DAY)),
    ]
    return [shard.put(topic, payload, payload["ts"]) for topic, payload in told]


def orders(records: list[str]) -> list[list[str]]:
    """Every order in which each topic keeps its own."""
    return [
        list(order)
        for order in permutations(records)
        if all(
            [one for one in order if one.startswith(topic)]
            == [one for one in records if one.startswith(topic)]
            for topic in topics.INPUTS
        )
    ]


@pytest.mark.parametrize("known", range(7))
def test_whatever_is_read_first_after_a_crash_all_is_as_it_was(
    known: int, shard: Shard, story: list[str]
) -> None:
    seen = 6  # all but the last was read before the crash
    shard.read(*story[:known])
    saved = MemoryStore(shard.store)
    shard.read(*story[known:seen])
    decisions, ends = list(shard.decisions), dict(shard.ends)
    rewards = set(shard.rewards)
    assert [each.trigger_event_id for each in decisions] == ["e1", "e2"]
    for order in orders(story[known:]):
        shard.store = MemoryStore(saved)
        shard.decisions = list(decisions)
        shard.ends.clear()
        shard.unread = [one for one in in_order(story[:seen]) if one[0] == topics.OUTCOMES]
        shard.start()
        shard.read(*order)
        assert {encode(each) for each in shard.decisions} == {encode(each) for each in decisions}
        for place, told in shard.ends.items():
            assert told == ends.get(place, {("suppressed", "no_opt_in")}), (place, order)
        assert len(shard.ends) == 7 - known
    assert set(shard.rewards) == rewards


def test_an_outcome_whose_decision_is_not_made_again_waits_until_the_shard_has_caught_up(
    shard: Shard, story: list[str]
) -> None:
    shard.tick(NOON_MS)
    shard.read(*story[:1])
    saved = MemoryStore(shard.store)
    shard.read(*story[1:3])
    shard.store, shard.unread = saved, [in_order(story[2:3])[0]]
    shard.ends.clear()
    shard.start()
    shard.tick(NOON_MS + HOUR)
    shard.read(story[2])
    assert not shard.ends
    shard.tick(NOON_MS + HOUR + QUIET_MS + 1)
    assert shard.ends == {(topics.OUTCOMES, 0): {("unmatched", "unknown_decision")}}


def test_an_outcome_that_waits_at_a_second_crash_is_not_lost(
    shard: Shard, story: list[str]
) -> None:
    shard.read(story[0])
    saved = MemoryStore(shard.store)
    shard.read(*story[1:6])
    shard.unread = [one for one in in_order(story[:6]) if one[0] == topics.OUTCOMES]
    for read, in_between in ((story[2:3], story[4:6]), (story[1:2], [])):
        shard.store = saved
        shard.ends.clear()
        shard.start()
        shard.read(*read, *in_between)
        saved = MemoryStore(shard.store)
    shard.read(story[3], story[6])
    assert {each.trigger_event_id for each in shard.decisions} == {"e1", "e2"}
    assert shard.ends[topics.EVENTS, 3] == {("suppressed", "no_opt_in")}
    told = {offset: ends for (topic, offset), ends in shard.ends.items() if topic != topics.EVENTS}
    assert told == {0: {("updated", "")}, 1: {("updated", "")}, 2: {("updated", "")}}
