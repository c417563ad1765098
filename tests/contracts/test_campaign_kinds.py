"""What every kind of campaign promises, whoever wrote it. A new kind needs a story, no test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.control import Policy
from schemas.wire import encode
from scoring.campaigns import CAMPAIGN_KINDS
from tests.builders import DAY, HOUR, MINUTE
from tests.harness import NOON_MS, Harness, control
from tests.kinds import DAWN_MS, MORNING_MS, STORIES, Story, day, did, events, let_pass, night
from tests.strategies import raw_events

LAWS = settings(max_examples=25, deadline=None)
UNDONE = sorted(name for name, story in STORIES.items() if story.undone or story.changed)


@pytest.fixture(params=sorted(STORIES))
def story(request: pytest.FixtureRequest) -> Story:
    return STORIES[request.param]


def said(stream: Harness) -> list[dict[str, Any]]:
    return stream.outputs[topics.DECISIONS]


def cancellations(stream: Harness) -> list[tuple[str, str]]:
    return [
        (audit["end"], audit["reason"])
        for audit in stream.outputs[topics.AUDIT]
        if audit["kind"] == "candidate" and audit["end"] == "cancelled"
    ]


def test_every_kind_has_a_story() -> None:
    assert {type(story.trigger) for story in STORIES.values()} == set(CAMPAIGN_KINDS)


def test_a_kind_speaks_once_when_its_story_is_told(story: Story) -> None:
    stream = story.stream()
    story.tell(stream)
    [decision] = said(stream)
    assert decision["status"] == "send"
    assert decision["decided_at_ms"] >= NOON_MS


def test_a_kind_is_silent_until_its_story_is_whole(story: Story) -> None:
    stream = story.stream()
    stream.send(*events(story.told[:-1]))
    assert said(stream) == []
    if story.wait_ms:
        stream.send(*events(story.told[-1:]))
        assert said(stream) == []


def test_a_story_that_is_told_twice_says_nothing_more(story: Story) -> None:
    stream = story.stream()
    story.tell(stream)
    story.tell(stream)
    assert len(said(stream)) == 1


def test_a_message_that_waited_for_the_morning_goes_out_then(story: Story) -> None:
    stream = story.stream(night())
    story.tell(stream)
    assert said(stream) == []
    let_pass(stream, MORNING_MS - NOON_MS)
    if story.until_ms <= DAWN_MS:
        assert said(stream) == []
        return
    [decision] = said(stream)
    assert decision["deferred_ms"] > 0
    assert cancellations(stream) == []


@pytest.mark.parametrize("name", UNDONE)
def test_a_message_that_waits_is_cancelled_when_its_reason_goes(name: str) -> None:
    story = STORIES[name]
    stream = story.stream(night())
    story.tell(stream)
    stream.send(*events(story.undone))
    for key, value in control(*story.changed):
        stream.decider.on_control(key, value)
    if story.undone:
        assert cancellations(stream) == [("cancelled", "reason_gone")]
        assert stream.customer("ann").book.deferred == {}
    let_pass(stream, MORNING_MS - NOON_MS)
    assert said(stream) == []
    assert cancellations(stream) == [("cancelled", "reason_gone")]


@pytest.mark.parametrize("name", [name for name in UNDONE if STORIES[name].wait_ms])
def test_a_wait_ends_when_its_reason_goes(name: str) -> None:
    story = STORIES[name]
    stream = story.stream()
    stream.send(*events(story.told))
    undo = {"event_id": "undone", "ts": NOON_MS + MINUTE // 2}
    stream.send(*(each | undo for each in events(story.undone)))
    let_pass(stream, story.wait_ms)
    assert said(stream) == []


def test_a_campaign_that_is_withdrawn_says_nothing_of_what_it_began(story: Story) -> None:
    for rules in (day(), night()):
        stream = story.stream(rules)
        stream.send(*events(story.told[:-1]))
        if story.wait_ms or rules.quiet_hours is not None:
            stream.send(*events(story.told[-1:]))
        stream.decider.on_control("campaign/told", None)
        stream.send(*events(story.told[-1:]))
        let_pass(stream, MORNING_MS - NOON_MS)
        assert said(stream) == []


def test_a_campaign_of_an_audience_speaks_to_nobody_else(story: Story) -> None:
    stream = story.stream(audience="trait_member_level = gold")
    story.tell(stream)
    assert said(stream) == []
    stream = story.stream(audience="trait_member_level is not known")
    story.tell(stream)
    assert len(said(stream)) == 1


def test_a_campaign_whose_when_does_not_hold_is_silent(story: Story) -> None:
    stream = story.stream(when="brand = nobody")
    story.tell(stream)
    assert said(stream) == []


def test_campaigns_that_differ_in_nothing_but_their_names_are_heard_alike(story: Story) -> None:
    twin = story.campaign(id="a-twin", channels=("push",), message="transactional")
    stream = story.stream(message="transactional")
    for key, value in control(twin):
        stream.decider.on_control(key, value)
    story.tell(stream)
    assert [decision["campaign_id"] for decision in said(stream)] == ["a-twin", "told"]


@pytest.mark.parametrize("name", sorted(STORIES))
@given(life=raw_events(max_size=25), dark=st.booleans())
@LAWS
def test_any_life_leads_to_the_same_however_it_is_cut_and_stored(
    name: str, life: list[dict[str, Any]], dark: bool
) -> None:
    story = STORIES[name]
    rules = night() if dark else day()
    lived = list(_lived(story, life))
    whole, cut, stored = (_stream(story, rules, cached) for cached in (100, 100, 0))
    whole.send(*lived, batch=100)
    cut.send(*lived, batch=1)
    stored.send(*lived, batch=1)
    end_ms = max((each["ts"] for each in lived), default=NOON_MS) + 3 * DAY
    for stream in (whole, cut, stored):
        stream.tick(end_ms)
    assert _told(whole) == _told(cut) == _told(stored)
    assert whole.customer("ann").book == stored.customer("ann").book


@pytest.mark.parametrize("name", sorted(STORIES))
@given(life=raw_events(max_size=25))
@LAWS
def test_the_same_life_leads_to_the_same_twice(name: str, life: list[dict[str, Any]]) -> None:
    story = STORIES[name]
    lived = list(_lived(story, life))
    first, again = (_stream(story, day(), 100) for _ in range(2))
    for stream in (first, again):
        stream.send(*lived)
        stream.tick(NOON_MS + 400 * DAY)
    assert first.outputs == again.outputs


def test_what_a_kind_keeps_of_a_customer_is_bounded(story: Story) -> None:
    stream = story.stream()
    sizes = []
    for count in (1, 2):
        for number in range(400):
            fields = did(
                ("view", "cart", "purchase", "favourite")[number % 4],
                event_id=f"n{count}-{number}",
                item_id=f"i{number}",
                location={"lat": 59.0 + number % 3, "lon": 10.0},
            )
            at_ms = (400 * (count - 1) + number) * HOUR
            stream.send({"user_id": "ann", "ts": NOON_MS + at_ms, **fields})
        book = stream.customer("ann").book
        sizes.append(len(encode(book.notes)) + len(encode(book.armed)))
    assert sizes[1] <= 1.2 * sizes[0] + 64


def _lived(story: Story, life: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A life with the story told in the middle of it, all ann's."""
    offset = NOON_MS - life[len(life) // 2]["ts"] if life else 0
    moved = [{**each, "user_id": "ann", "ts": each["ts"] + offset} for each in life]
    told = [*events(story.told), *events(story.undone)]
    for number, each in enumerate(sorted([*moved, *told], key=lambda each: each["ts"])):
        yield {**each, "event_id": f"e{number}", "ts": max(each["ts"], NOON_MS - 29 * DAY)}


def _stream(story: Story, rules: Policy, cached: int) -> Harness:
    stream = Harness(
        [rules, *story.records, story.campaign(channels=("push",))], cached_customers=cached
    )
    ready = {"event_id": "ready", "user_id": "ann", "action": "login", "ts": NOON_MS - 30 * DAY}
    stream.send({**ready, "consent": {"marketing": True, "push": True, "email": True}})
    return stream


def _told(stream: Harness) -> list[tuple[str, bytes]]:
    """Decisions, rewards and why not; what is learned comes back by batch, as do inputs' ends."""
    return [
        (topic, msgspec.json.encode(record | {"posterior_version": 0}))
        for topic in (topics.DECISIONS, topics.REWARDS, topics.AUDIT)
        for record in stream.outputs[topic]
        if record.get("kind") not in ("outcomes", "plan", "shadow")
    ]
