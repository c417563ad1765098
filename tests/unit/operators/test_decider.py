"""The batch loop: every input one end, nothing lost in a restart, the same again the same."""

from __future__ import annotations

import random
from base64 import b64decode
from typing import Any

import msgspec
import pytest

from operators.shard import SEPARATOR, Decider, DeciderConfig, MemoryStore, shard_of
from schemas import topics
from schemas.control import Cap
from schemas.decision import Decision
from schemas.event import MAX_EVENT_BYTES
from schemas.triggers import DAY_MS, EventTrigger
from schemas.wire import encode
from state.customer import TAIL_LONG, Customer
from tests.builders import EVEN, HOUR, MINUTE, abandonment, on_cart, policy, viewed_again
from tests.harness import NOON_MS, Harness, consenting, event

CONTROL = [policy(learning=EVEN), viewed_again(), on_cart(cooldown_ms=HOUR), abandonment()]


def traffic(seed: int, count: int = 400, users: int = 12) -> list[dict[str, Any]]:
    """Events of a few customers, nearly in order."""
    draw = random.Random(seed)
    events = [consenting(f"u{n}", NOON_MS - MINUTE) for n in range(users)]
    ts = NOON_MS
    for _ in range(count):
        ts += draw.randrange(0, 4 * MINUTE)
        events.append(
            event(
                f"u{draw.randrange(users)}",
                draw.choice(["view", "view", "view", "cart", "purchase", "search"]),
                ts - draw.randrange(0, 30_000),
                item_id=f"i{draw.randrange(30)}",
                item_category=f"c{draw.randrange(4)}",
                brand=f"b{draw.randrange(5)}",
                price=float(draw.randrange(1, 100)),
            )
        )
    return events


NOT_UTF8 = b'{"event_id":"e","user_id":"ann","action":"view","ts":1700000000000,"brand":"\xff"}'

BAD = {
    "broken_json": [
        b"{",
        b"",
        b"\xff\xfe",
        b"\x00" * 40,
        b'{"user_id": "ann"',
        b"not json",
        NOT_UTF8,
    ],
    "wrong_type": [
        b"[]",
        b"null",
        b"17",
        b'{"user_id":"ann"}',
        b'{"event_id":1,"user_id":"ann","action":"view","ts":1700000000000}',
        b'{"event_id":"e","user_id":7,"action":"view","ts":1700000000000}',
        b'{"event_id":"e","user_id":"ann","action":"View!","ts":1700000000000}',
        b'{"event_id":"e","user_id":"ann","action":"view","ts":1700000000000,"price":-1}',
        b'{"event_id":"e","user_id":"ann","action":"view","ts":1700000000000,"price":"9.90"}',
        b'{"event_id":"e","user_id":"ann","action":"unsubscribed","ts":1700000000000}',
        b'{"event_id":"e","user_id":"a b","action":"view","ts":1700000000000}',
    ],
    "unknown_version": [
        b'{"schema_version":2}',
        b'{"event_id":"e","user_id":"ann","action":"view","ts":1700000000000,"schema_version":99}',
    ],
    "bad_timestamp": [
        b'{"event_id":"e","user_id":"ann","action":"view","ts":1700000000}',
        b'{"event_id":"e","user_id":"ann","action":"view","ts":"yesterday"}',
        b'{"event_id":"e","user_id":"ann","action":"view","ts":"2023-11-14T22:13:20"}',
    ],
    "future_timestamp": [
        b'{"event_id":"e","user_id":"ann","action":"view","ts":32503680000000}',
        b'{"event_id":"e","user_id":"ann","action":"view","ts":"3000-01-01T00:00:00Z"}',
    ],
    "oversized": [
        b'{"event_id":"e","user_id":"ann","action":"view","ts":1700000000000,"query":"'
        + b"x" * MAX_EVENT_BYTES
        + b'"}'
    ],
}


@pytest.mark.parametrize(
    ("reason", "raw"), [(reason, raw) for reason, raws in BAD.items() for raw in raws]
)
def test_a_bad_record_is_kept_with_its_reason_and_harms_nobody(reason: str, raw: bytes) -> None:
    stream = Harness(CONTROL)
    stream.send(event(), raw, event(), ingested_ms=NOON_MS)
    assert sorted(end[3] for end in stream.ends()) == ["dead", "updated", "updated"]
    [letter] = stream.outputs[topics.DEAD_LETTERS]
    assert letter["reason"] == reason
    assert letter["size_bytes"] == len(raw)


def test_every_input_has_exactly_one_end() -> None:
    stream = Harness(CONTROL)
    events = traffic(1)
    duplicates = events[20:60]
    bad = [raw for raws in BAD.values() for raw in raws]
    stream.send(*events, *duplicates, *bad, ingested_ms=NOON_MS + 10**9)
    ends = stream.ends()
    assert len(ends) == len({end[:3] for end in ends}) == len(events) + len(duplicates) + len(bad)
    assert sum(end[3] == "duplicate" for end in ends) == len(duplicates)
    assert stream.outputs[topics.DECISIONS]


def test_the_same_events_give_the_same_outputs_byte_for_byte() -> None:
    events = traffic(2)
    runs = [Harness(CONTROL), Harness(CONTROL)]
    for run in runs:
        run.send(*events)
    assert runs[0].outputs[topics.DECISIONS]
    assert msgspec.json.encode(runs[0].outputs) == msgspec.json.encode(runs[1].outputs)


@pytest.mark.parametrize("seed", range(5))
def test_a_restart_at_any_batch_changes_no_decision_and_no_profile(seed: int) -> None:
    events = traffic(seed)
    steady, restarted = Harness(CONTROL), Harness(CONTROL)
    steady.send(*events, batch=1)
    draw = random.Random(seed)
    for one in events:
        if draw.random() < 0.2:
            restarted.restart(records=CONTROL)
        restarted.send(one)
    # The harness groups by shard, so compare per customer.
    for user in {one["user_id"] for one in events}:
        assert steady.customer(user).profile().dimensions(NOON_MS) == restarted.customer(
            user
        ).profile().dimensions(NOON_MS)
    assert {d["decision_id"] for d in steady.outputs[topics.DECISIONS]} == {
        d["decision_id"] for d in restarted.outputs[topics.DECISIONS]
    }


def test_a_small_cache_changes_nothing() -> None:
    events = traffic(3)
    large, small = Harness(CONTROL), Harness(CONTROL, cached_customers=2)
    large.send(*events)
    small.send(*events)
    assert large.outputs == small.outputs


def test_a_decision_published_before_a_crash_is_made_again_as_it_was() -> None:
    first = Harness([policy(), on_cart()])
    opening, cart = consenting(), event(action="cart")
    [decision] = first.send(opening, cart)
    other = next(c for c in ("sms", "push", "email") if c != decision["channel"])
    sealed = msgspec.convert({**decision, "channel": other, "propensity": 0.25}, Decision)
    second = Harness([policy(), on_cart()], sealed=[sealed])
    [again] = second.send(opening, cart)
    assert (again["channel"], again["propensity"]) == (other, 0.25)
    assert second.customer("ann").book.exposures[0].channel == other


def test_what_came_to_nothing_before_a_crash_does_so_again_beside_what_was_published() -> None:
    """A campaign that began during the crash must not spend caps that later messages used."""
    capped = policy(caps=(Cap(2, DAY_MS),))
    payloads = [
        consenting(),
        event(action="search", ts=NOON_MS),
        event(action="cart", ts=NOON_MS + MINUTE),
        event(action="cart", ts=NOON_MS + 2 * MINUTE),
        event(action="search", ts=NOON_MS + 3 * MINUTE),
    ]
    first = Harness([capped, on_cart()])
    published = first.send(*payloads)
    assert len(published) == 2
    new = on_cart(id="on-search", trigger=EventTrigger(("search",)))
    second = Harness(
        [capped, on_cart(), new], sealed=[msgspec.convert(each, Decision) for each in published]
    )
    second.decider.world.audited_share = 1
    again = second.send(*payloads)
    assert [each["decision_id"] for each in again] == [each["decision_id"] for each in published]
    refused = [each["reason"] for each in second.outputs[topics.AUDIT] if "reason" in each]
    assert refused == ["overtaken", "global_cap"]


def test_a_shard_asks_for_what_was_published_since_the_tick_before_it_was_saved() -> None:
    first = Harness([policy(), on_cart()])
    first.send(consenting())
    first.tick(1_800_000_000_000)
    first.tick(1_800_000_000_400)
    first.send(event(action="view"))
    asked: list[int] = []

    def published(saved_ms: int) -> list[Decision]:
        asked.append(saved_ms)
        return []

    [(name, store)] = first.stores.items()
    resumed = Decider(first.config, published=published)
    resumed.on_batch(name, store, [])
    resumed.on_tick(name, store, 1_800_000_100_000)
    resumed.on_batch("another", MemoryStore(), [])
    assert asked == [1_800_000_000_000, 0]


def test_a_refused_campaign_becomes_a_dead_letter_and_the_running_one_stays() -> None:
    stream = Harness([policy(), on_cart()])
    letters = stream.decider.on_control("campaign/on-cart", b'{"kind":"campaign","id":"on-cart"}')
    assert b"refused_campaign" in letters[0].value
    assert len(stream.send(consenting(), event(action="cart"))) == 1


def test_a_withdrawn_campaign_is_silent_and_an_older_record_changes_nothing() -> None:
    stream = Harness([policy(), on_cart(updated_ms=5)])
    paused = msgspec.json.encode(on_cart(status="paused", updated_ms=4))
    stream.decider.on_control("campaign/on-cart", paused)
    assert len(stream.send(consenting(), event(action="cart"))) == 1
    stream.decider.on_control("campaign/on-cart", None)
    assert stream.send(event(action="cart", ts=NOON_MS + HOUR)) == []


def test_records_of_a_batch_are_taken_in_the_order_of_their_partition() -> None:
    stream = Harness([policy(), on_cart()])
    records = [
        f"{topics.EVENTS}\x1f0\x1f{offset}\x1f{NOON_MS}\x1f{msgspec.json.encode(one).decode()}"
        for offset, one in enumerate([consenting(), event(action="cart")])
    ]
    shard = shard_of("ann", stream.shards)
    outputs = stream.decider.on_batch(shard, stream.stores[shard], records[::-1])
    assert any(output.topic == topics.DECISIONS for output in outputs)


def test_a_profile_waits_for_the_tick_and_names_what_is_new_in_it() -> None:
    stream = Harness([policy()])
    stream.send(event(), event(ts=NOON_MS + 1))
    assert not stream.outputs[topics.PROFILES]
    stream.tick(0)
    stream.tick(0)
    stream.send(event(ts=NOON_MS + 2))
    stream.send(event(ts=NOON_MS + 3))
    stream.tick(0)
    [first, second] = stream.outputs[topics.PROFILES]
    assert (first["since"], first["revision"]) == (0, 2)
    assert (second["since"], second["revision"]) == (2, 4)


def test_a_profile_that_waits_survives_a_restart() -> None:
    stream = Harness([policy()])
    stream.send(event())
    stream.restart()
    stream.send(event("bob"))
    stream.tick(0)
    published = {profile["user_id"]: profile for profile in stream.outputs[topics.PROFILES]}
    assert (published["ann"]["since"], published["ann"]["revision"]) == (0, 1)


def test_every_fact_is_in_the_tail_of_some_published_profile() -> None:
    stream = Harness([policy()])
    for number in range(3 * TAIL_LONG):
        stream.send(event(ts=NOON_MS + number * 600_000))
    stream.tick(0)
    told: set[int] = set()
    for profile in stream.outputs[topics.PROFILES]:
        customer = Customer.decode(b64decode(profile["snapshot"]))
        told |= {fact.seq for fact in customer.tail if fact.seq > profile["since"]}
    assert told == set(range(1, 3 * TAIL_LONG + 1))
    assert len(stream.outputs[topics.PROFILES]) < 3 * TAIL_LONG


def test_only_so_many_profiles_wait() -> None:
    decider, store = Decider(DeciderConfig(unpublished_customers=2)), MemoryStore()
    outputs = []
    for offset, user in enumerate(["ann", "bob", "cid"]):
        payload = msgspec.json.encode(event(user)).decode()
        record = f"{topics.EVENTS}\x1f0\x1f{offset}\x1f{NOON_MS}\x1f{payload}"
        outputs.append(decider.on_batch("0", store, [record]))
    published = [sum(o.topic == topics.PROFILES for o in batch) for batch in outputs]
    assert published == [0, 0, 3]


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_how_records_fall_into_batches_changes_no_decision(batch: int) -> None:
    events = traffic(4)
    reference, other = Harness(CONTROL), Harness(CONTROL)
    reference.send(*events)
    other.send(*events, batch=batch)

    def decisions(stream: Harness) -> list[bytes]:
        return sorted(msgspec.json.encode(d) for d in stream.outputs[topics.DECISIONS])

    assert decisions(reference)
    assert {d["campaign_id"] for d in reference.outputs[topics.DECISIONS]} >= {"cart-abandonment"}
    assert decisions(other) == decisions(reference)


def test_a_customer_whose_id_was_read_otherwise_when_the_batch_was_cut_is_refused() -> None:
    decider = Decider(DeciderConfig(shards=256))
    for shard, raw in {
        shard_of("ann", 256): encode(event("ann")),
        shard_of("bob", 256): b'{"user_id":"bob","user\\u005fid":"ann","event_id":"e",'
        b'"action":"view","ts":1700000000000}',
    }.items():
        record = SEPARATOR.join((topics.EVENTS, "0", "0", str(NOON_MS), raw.decode()))
        outputs = decider.on_batch(shard, MemoryStore(), [record])
        dead = any(output.topic == topics.DEAD_LETTERS for output in outputs)
        assert dead is (shard != shard_of("ann", 256))
