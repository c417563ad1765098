"""What `beckon preview` says, and that it says what the stream then does."""

from __future__ import annotations

import json
import random
from base64 import b64decode
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner, Result

from jobs import preview as command
from jobs.preview import preview_event, read_event, shown, with_files
from schemas import topics
from schemas.control import control_key
from schemas.decision import Decision
from schemas.errors import UserMistake
from schemas.wire import decode_control, decode_event, encode
from tests.builders import DAY, HOUR, MINUTE, abandonment, on_cart, policy, viewed_again, win_back
from tests.harness import NOON_MS, Harness, consenting, control, event

CONTROL = [
    policy(cap_sends=4, holdout_ratio=0.2),
    viewed_again(cooldown_ms=HOUR),
    on_cart(cooldown_ms=10 * MINUTE, min_score=0.01),
    abandonment(cooldown_ms=HOUR, holdout_ratio=0.3),
    win_back(),
]
USERS = ["ann", "bob", "cem", "dee"]


def ahead(stream: Harness, payload: dict[str, Any]) -> command.Preview:
    """A preview that knows what the stream has published, and nothing else."""
    user = payload["user_id"]
    stream.tick(0)
    profiles = [p for p in stream.outputs[topics.PROFILES] if p["user_id"] == user]
    decisions = [
        msgspec.convert(d, Decision)
        for d in stream.outputs[topics.DECISIONS]
        if d["user_id"] == user
    ]
    state = b64decode(profiles[-1]["snapshot"]) if profiles else None
    return preview_event(state, decode_event(encode(payload)), in_force(stream), decisions)


def in_force(stream: Harness) -> list[tuple[str, bytes]]:
    learned = [decode_control(encode(each)) for each in stream.outputs.get(topics.CONTROL, ())]
    newest = {control_key(each): encode(each) for each in learned}
    return control(*CONTROL) + list(newest.items())


def histories() -> st.SearchStrategy[list[tuple[int, str, str, int, int]]]:
    """Steps in time, what happens, to whom, with which item; the kind also tells outcomes."""
    kinds = ["view", "view", "view", "cart", "cart", "purchase", "clicked", "unsubscribed", "allow"]
    pauses = st.one_of(
        st.integers(0, 5 * MINUTE),
        st.sampled_from([0, 30 * MINUTE, 31 * MINUTE, HOUR, 6 * HOUR, DAY, 31 * DAY]),
    )
    step = st.tuples(
        pauses, st.sampled_from(kinds), st.sampled_from(USERS), st.integers(0, 3), st.integers(0, 2)
    )
    return st.lists(step, min_size=1, max_size=40)


def record(
    stream: Harness, number: int, ts: int, kind: str, user: str, item: int, category: int
) -> tuple[str, dict[str, Any]]:
    """A topic and what to put on it."""
    if kind in ("clicked", "unsubscribed"):
        made = [d for d in stream.outputs[topics.DECISIONS] if d["user_id"] == user]
        if not made:
            return topics.EVENTS, event(user, "search", ts, event_id=f"e{number}")
        outcome = {"outcome_id": f"o{number}", "user_id": user, "kind": kind, "ts": ts}
        channel = made[-1]["channel"]
        return topics.OUTCOMES, outcome | {
            "decision_id": made[-1]["decision_id"],
            "channel": channel,
        }
    if kind == "allow":
        return topics.EVENTS, consenting(user, ts, event_id=f"e{number}")
    fields = {"item_id": f"i{item}", "item_category": f"c{category}", "price": 5.0 + item}
    return topics.EVENTS, event(user, kind, ts, event_id=f"e{number}", **fields)


@settings(max_examples=150)
@given(histories(), st.randoms(use_true_random=False))
def test_a_preview_is_the_decision_then_made_and_leaves_no_effect(
    history: list[tuple[int, str, str, int, int]], draw: random.Random
) -> None:
    stream, plain = Harness(CONTROL), Harness(CONTROL)
    for each in (stream, plain):
        each.send(*(consenting(user, event_id=f"first-{user}") for user in USERS))
    ts = NOON_MS
    for number, (pause, kind, user, item, category) in enumerate(history):
        ts += pause
        if draw.random() < 0.3:
            for each in (stream, plain):
                each.tick(ts)
        topic, payload = record(stream, number, ts, kind, user, item, category)
        plain.tick(0)  # as the look ahead does, so that profiles are published at the same times
        if topic == topics.EVENTS:
            seen = ahead(stream, payload)
            made = [d for d in stream.send(payload) if d["user_id"] == user]
            assert [json.loads(encode(each)) for each in seen.before + seen.decisions] == made
            assert (seen.end, seen.reason) == stream.ends()[-1][3:]
        else:
            stream.tick(0)
            stream.send(payload, topic=topic)
        plain.send(payload, topic=topic)
    assert stream.outputs == plain.outputs
    assert stream.stores == plain.stores


def test_the_law_is_about_something() -> None:
    stream = Harness(CONTROL)
    stream.send(consenting("eve"))
    payload = event("eve", "cart", NOON_MS)
    seen = ahead(stream, payload)
    assert [d.campaign_id for d in seen.decisions] == ["on-cart"]
    assert [json.loads(encode(d)) for d in seen.decisions] == stream.send(payload)


@pytest.fixture
def stream() -> Harness:
    """A stream that knows ann, who agreed to everything."""
    found = Harness(CONTROL)
    found.send(consenting("ann"))
    return found


def told(found: command.Preview) -> list[str]:
    console = Console(width=160, record=True, file=StringIO())
    console.print(shown(found))
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def test_what_would_be_sent_waited_for_and_left_alone_is_said_in_words(stream: Harness) -> None:
    lines = told(ahead(stream, event("ann", "cart", NOON_MS, item_id="i1")))
    assert lines[0] == "cart by ann at 2023-11-14 22:13:20Z"
    assert lines[2].startswith("send on-cart by ")
    assert "expected click-through 5 %" in lines[2]
    waits = "wait cart-abandonment until 2023-11-14 22:43:20Z"
    assert any(line.startswith(waits) for line in lines)
    assert lines[-1].startswith("Rests on 1 events and outcomes up to 2023-11-14 22:13:19Z; 4 camp")
    assert lines[-1].endswith("Nothing was sent and nothing changed.")


def test_a_wait_that_the_event_ends_is_named(stream: Harness) -> None:
    stream.send(event("ann", "cart", NOON_MS))
    lines = told(ahead(stream, event("ann", "purchase", NOON_MS + MINUTE)))
    assert "wait no longer cart-abandonment the event ends what it waited for" in lines


def test_a_refusal_is_told_with_its_meaning_whoever_the_customer_is() -> None:
    for number in range(20):  # the stream would tell of one in sixteen
        found = ahead(Harness(CONTROL), event(f"u{number}", "cart", NOON_MS))
        [refusal] = found.refusals
        assert (refusal.campaign_id, found.decisions) == ("on-cart", [])
        said = f"stay silent on-cart {refusal.reason}: "
        assert any(line.startswith(said) for line in told(found))
        assert "a reason of another release" not in " ".join(told(found))


def test_what_does_not_set_a_campaign_off_is_listed(stream: Harness) -> None:
    found = ahead(stream, event("ann", "view", NOON_MS, item_category="shoes"))
    assert found.silent == ["viewed-again"]


def test_what_will_have_fallen_due_before_the_event_comes_first(stream: Harness) -> None:
    stream.send(event("ann", "cart", NOON_MS))
    found = ahead(stream, event("ann", "search", NOON_MS + HOUR))
    assert [d.campaign_id for d in found.before] == ["cart-abandonment"]
    assert any(line.startswith("already due at 2023-11-14 22:43:20Z") for line in told(found))
    stream.tick(NOON_MS + HOUR)
    assert ahead(stream, event("ann", "search", NOON_MS + HOUR)).before == []


def test_a_late_event_and_one_seen_before_are_called_so(stream: Harness) -> None:
    stream.send(event("ann", "view", NOON_MS, event_id="again"))
    late = ahead(stream, event("ann", "cart", NOON_MS - HOUR))
    assert "late: as updated, but later than the bound, so no campaign was asked" in told(late)
    again = ahead(stream, event("ann", "view", NOON_MS, event_id="again"))
    assert (again.end, again.silent) == ("duplicate", [])


def test_what_the_stream_would_refuse_is_refused_with_its_reason(stream: Harness) -> None:
    record = decode_event(encode(event("ann", "view", NOON_MS + DAY)))
    with pytest.raises(UserMistake, match=r"would refuse this event: .* ahead of the broker"):
        preview_event(None, record, control(*CONTROL), ingested_ms=NOON_MS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "--event is no JSON: .* Quote it for the shell"),
        ("[1]", "must be one JSON object"),
        ("{}", "missing required field `action`"),
        ('{"action": "view", "user_id": "bob"}', "is of 'bob', not of 'ann': leave user_id out"),
        ('{"action": "view", "item": "i1"}', "no field 'item'; did you mean 'item_id'?"),
        ('{"action": "view", "zzz": 1}', "no field 'zzz'; there are: event_id, "),
        ('{"action": "view", "ts": "tomorrow"}', "'tomorrow' is not an RFC 3339 date-time"),
        ('{"action": "clicked"}', "'clicked' is an outcome"),
        ("@/nowhere/at/all.json", "/nowhere/at/all.json cannot be read"),
    ],
)
def test_a_mistake_in_the_event_is_one_sentence_with_its_fix(text: str, complaint: str) -> None:
    with pytest.raises(UserMistake, match=complaint):
        read_event("ann", text, NOON_MS)


def test_what_the_event_leaves_out_is_made_up(tmp_path: Path) -> None:
    (tmp_path / "cart.json").write_text('{"action": "cart"}')
    read = read_event("ann", f"@{tmp_path}/cart.json", NOON_MS)
    assert (read.user_id, read.ts, read.event_id[:8]) == ("ann", NOON_MS, "preview-")


def test_files_go_over_what_is_in_force(tmp_path: Path) -> None:
    (tmp_path / "on-cart.yaml").write_text(
        "{kind: campaign, id: on-cart, name: x, channels: [push], status: paused, "
        "trigger: {kind: event, actions: [cart]}}"
    )
    over = with_files(control(*CONTROL), [tmp_path])
    record = decode_event(encode(event("ann", "cart", NOON_MS)))
    assert preview_event(None, record, control(*CONTROL)).refusals
    assert preview_event(None, record, over).refusals == []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, stream: Harness) -> Callable[..., Result]:
    """Runs the command on what the stream has published."""
    stream.tick(0)
    state = b64decode(stream.outputs[topics.PROFILES][-1]["snapshot"])
    monkeypatch.setattr(command, "control_snapshot", lambda _: in_force(stream))
    monkeypatch.setattr(
        command, "published", lambda _, user: (state if user == "ann" else None, [])
    )
    monkeypatch.setattr(command, "Console", lambda: Console(width=160))
    app = Typer()
    app.command()(command.preview)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_a_program_gets_json(run: Callable[..., Result]) -> None:
    said = json.loads(run("ann", "--event", '{"action": "cart"}', "--json").output)
    assert [d["campaign_id"] for d in said["decisions"]] == ["on-cart"]
    assert (said["user_id"], said["end"], said["known_events"]) == ("ann", "decided", 1)


def test_an_event_without_an_id_is_told_that_the_draw_is_another(
    run: Callable[..., Result],
) -> None:
    hint = "give event_id for the very draw"
    assert hint in run("ann", "--event", '{"action": "cart"}').output
    assert hint not in run("ann", "--event", '{"action": "cart", "event_id": "e1"}').output


def test_a_customer_of_whom_nothing_is_known_is_said_to_be_one(run: Callable[..., Result]) -> None:
    said = run("new", "--event", '{"action": "cart"}').output
    assert "Rests on nothing is known of the customer" not in said
    assert "Nothing is known of new" in said
