"""The day's judge finds what is wrong, finds nothing where nothing is, and a replay is equal."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from benchmarks.core import SHARDS
from benchmarks.day import events, rules
from benchmarks.day.judge import KINDS, Judge
from benchmarks.day.reasons import unexplained
from benchmarks.day.replay import Recorded, batches, digest, replay
from jobs.why.answers import Record
from operators.shard import Decider, DeciderConfig, MemoryStore, shard_of
from schemas import topics
from schemas.control import control_key
from schemas.decision import Decision
from schemas.wire import encode

EVENTS = 6_000
INGESTED_MS = events.BEGINS_MS + 40 * 86_400_000

Changed = dict[str, Any]


@pytest.fixture(scope="module")
def inputs() -> list[list[Recorded]]:
    """The day as a broker of four partitions would have it."""
    offsets: Counter[int] = Counter()

    def at(partition: int, key: bytes, value: bytes) -> Recorded:
        offsets[partition] += 1
        return Recorded(
            topics.EVENTS, partition, offsets[partition], INGESTED_MS, key.decode(), value
        )

    found = []
    for part in events.parts(1, EVENTS):
        records = [at(int(key[1:]) % 4, key, value) for key, value in part.messages]
        beats = events.beats(part.ends_ms, f"end-{part.ends_ms}", 4)
        found.append(records + [at(place, *message) for place, message in beats])
    return found


@pytest.fixture(scope="module")
def published(inputs: list[list[Recorded]]) -> dict[str, list[Record]]:
    """What the core publishes by topic, lending itself the budgets."""
    rules_in_force = [(control_key(r), encode(r)) for r in rules.control(EVENTS)]
    decider = Decider(DeciderConfig(lends=True), rules_in_force)
    stores: defaultdict[str, MemoryStore] = defaultdict(MemoryStore)
    found: defaultdict[str, list[Record]] = defaultdict(list)
    for part in inputs:
        for shard, batch in batches(part):
            for output in decider.on_batch(shard, stores[shard], batch):
                topic, key, value = output
                found[topic].append(Record(topic, 0, 0, key.encode(), value))
    return found


@pytest.fixture(scope="module")
def decided(published: dict[str, list[Record]]) -> list[bytes]:
    """The decisions' values."""
    return [record.value for record in published[topics.DECISIONS]]


def judged(inputs: list[list[Recorded]], decisions: list[bytes]) -> Judge:
    judge = Judge(rules.campaigns(EVENTS))
    for part in inputs:
        for record in part:
            judge.event(record.payload)
    for value in decisions:
        judge.decision(value)
    judge.verdict()
    return judge


def test_every_campaign_speaks_and_nothing_is_wrong(
    inputs: list[list[Recorded]], decided: list[bytes]
) -> None:
    judge = judged(inputs, decided)
    assert judge.violations == dict.fromkeys(KINDS, 0), judge.examples
    assert judge.by_campaign.keys() == {spec.id for spec in rules.campaigns(EVENTS)}
    assert judge.deferred > 0


def test_the_day_has_an_hour_more_in_one_of_its_two_zones(inputs: list[list[Recorded]]) -> None:
    assert events.SPAN_MS == 25 * 3_600_000
    text = b"".join(record.payload for part in inputs for record in part)
    assert all(zone.encode() in text for zone in (*events.ZONES, events.NOWHERE))
    assert {shard_of(r.user_id, SHARDS) for r in inputs[0]} == set("876e")


def test_a_replay_without_effects_decides_the_same(
    inputs: list[list[Recorded]], decided: list[bytes]
) -> None:
    control = rules.control(EVENTS)
    published = [msgspec.json.decode(value, type=Decision) for value in decided]
    again = list(replay(inputs, control, published))
    assert digest(again, control) == digest(published, control)
    assert digest(again[1:], control) != digest(published, control)


def test_every_candidate_has_one_answer_and_a_missing_one_is_found(
    inputs: list[list[Recorded]], published: dict[str, list[Record]]
) -> None:
    came = [
        Record(each.topic, each.partition, each.offset, each.user_id.encode(), each.payload)
        for part in inputs
        for each in part
    ]
    over_ms = events.BEGINS_MS + events.SPAN_MS - rules.MINUTE_MS
    audits, decisions = published[topics.AUDIT], published[topics.DECISIONS]
    asked, silent = unexplained(came, audits, decisions, rules.control(EVENTS), 1, over_ms)
    assert asked > 150
    assert silent == []
    told = [record for record in audits if b'"rows"' in record.value]
    assert unexplained(came, told, decisions, rules.control(EVENTS), 1, over_ms)[1] != []


def first(decided: list[bytes], campaign: str, status: str = "send") -> Changed:
    """The first decision of a campaign."""
    found: Changed
    for value in decided:
        found = msgspec.json.decode(value)
        if (found["campaign_id"], found["status"]) == (campaign, status):
            return found
    raise LookupError(campaign)


def too_early(made: Changed) -> Changed:
    return {"decided_at_ms": made["decided_at_ms"] - made["deferred_ms"] - 1}


def at_night(made: Changed) -> Changed:
    return {"decided_at_ms": events.BEGINS_MS + 3_600_000}


@pytest.mark.parametrize(
    ("campaign", "kind", "change"),
    [
        ("favourite", "in_quiet_hours", at_night),
        ("favourite", "lasts_into_quiet_hours", lambda made: {"expires_at_ms": 2 * 10**12}),
        ("favourite", "without_consent", lambda made: {"user_id": "nobody"}),
        ("favourite", "of_no_known_event", lambda made: {"trigger_event_id": "none"}),
        ("favourite", "held_out_by_mistake", lambda made: {"status": "holdout"}),
        ("favourite", "wrong_cost", lambda made: {"cost_micros": made["cost_micros"] + 1}),
        ("owed", "twice", lambda made: {}),
        ("cart-left", "too_early", too_early),
        ("cart-left", "in_cooldown", lambda made: {"trigger_event_id": "another"}),
        ("owed", "two_contents", lambda made: {"reason": "another"}),
        ("third-view", "over_a_cap", lambda made: {"trigger_event_id": "another"}),
    ],
)
def test_the_judge_finds_a_decision_that_is_wrong(
    inputs: list[list[Recorded]],
    decided: list[bytes],
    campaign: str,
    kind: str,
    change: Callable[[Changed], Changed],
) -> None:
    made = first(decided, campaign)
    wrong = {**made, **change(made)}
    if kind in ("in_cooldown", "over_a_cap"):
        wrong |= {"decided_at_ms": made["decided_at_ms"] + 1_000}
    if kind != "two_contents":
        wrong |= {"decision_id": "d2"}
    assert judged(inputs, [*decided, encode(wrong)]).violations[kind] > 0


def test_the_judge_finds_a_message_to_who_is_kept_back(
    inputs: list[list[Recorded]], decided: list[bytes]
) -> None:
    made = first(decided, "cart-left", "holdout")
    sent = encode({**made, "decision_id": "d2", "status": "send"})
    assert judged(inputs, [*decided, sent]).violations["to_the_holdout"] == 1


def test_the_judge_finds_a_purse_overdrawn_by_a_millionth(
    inputs: list[list[Recorded]], decided: list[bytes]
) -> None:
    spent = judged(inputs, decided).spent["owed"]
    budget = round(8 * EVENTS / rules.MILLION * 1_000_000)
    assert budget - 2_000 < spent <= budget
    made = first(decided, "owed")
    more = encode({**made, "decision_id": "d2", "cost_micros": budget - spent + 1})
    assert judged(inputs, [*decided, more]).violations["over_budget_micros"] == 1


def test_the_judge_finds_a_message_after_the_purchase(
    inputs: list[list[Recorded]], decided: list[bytes]
) -> None:
    made = first(decided, "cart-left")
    bought = {
        "event_id": "bought",
        "user_id": made["user_id"],
        "action": "purchase",
        "ts": made["decided_at_ms"] - 1,
    }
    record = inputs[0][0]._replace(user_id=made["user_id"], payload=encode(bought))
    assert judged([*inputs, [record]], decided).violations["after_the_purchase"] > 0
