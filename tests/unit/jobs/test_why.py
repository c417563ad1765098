"""What `beckon why` says, from records that the core itself has made."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from jobs.why import command
from jobs.why.answers import Record, Why, explain, narrowed, unexplained
from jobs.why.command import shown
from schemas import topics
from schemas.control import ControlRecord, QuietHours
from schemas.errors import UserMistake
from schemas.wire import encode
from scoring.world import AUDITED_SHARE, is_audited
from tests.builders import DAY, HOUR, MINUTE, abandonment, on_cart, policy, viewed_again
from tests.harness import NOON_MS, Harness, consenting, control, event

TOLD = next(f"u{n}" for n in range(10_000) if is_audited(f"u{n}"))
UNTOLD = next(f"u{n}" for n in range(10_000) if not is_audited(f"u{n}"))


class Recorded:
    """A stream whose topics are kept as `beckon why` reads them."""

    def __init__(self, *records: ControlRecord) -> None:
        self.stream = Harness(records)
        self.control = control(*records)
        self._inputs: list[Record] = []

    def send(self, *payloads: dict[str, Any], topic: str = topics.EVENTS) -> None:
        for payload in payloads:
            self.stream.send(payload, topic=topic)
            place = self.stream.ends()[-1]
            self._inputs.append(Record(*place[:3], b"", encode(payload)))

    def topics(self) -> tuple[list[Record], list[Record], list[Record]]:
        outputs = self.stream.outputs
        audits = [
            Record(topics.AUDIT, 0, at, each.get("user_id", "8").encode(), encode(each))
            for at, each in enumerate(outputs[topics.AUDIT])
        ]
        decisions = [
            Record(topics.DECISIONS, 0, at, each["user_id"].encode(), encode(each))
            for at, each in enumerate(outputs[topics.DECISIONS])
        ]
        return self._inputs, audits, decisions

    def why(self, user: str = TOLD) -> Why:
        return explain(user, *self.topics())


def story(found: Why) -> list[tuple[str, list[str]]]:
    """Each answer's campaign and the reasons of its turns."""
    return [
        (answer.campaign_id, [turn.reason for turn in answer.turns]) for answer in found.answers
    ]


def printed(found: Why, *rest: Any) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(shown(found, *rest))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_message_is_told_with_its_score_its_versions_and_what_moved_it() -> None:
    stream = Recorded(policy(), on_cart(version=7))
    stream.send(consenting(TOLD), event(TOLD, "cart", event_id="the-cart"))
    found = stream.why()
    assert story(found) == [("on-cart", ["sent"])]
    [answer] = found.answers
    assert answer.trigger_event_id == "the-cart"
    assert answer.decision is not None
    assert answer.turns[0].campaign_version == 7
    text = printed(found)
    assert "expected click-through" in text
    assert "campaign version 7" in text
    assert all(line in text for line in answer.decision.because)


def test_a_message_to_the_holdout_is_told_as_such() -> None:
    stream = Recorded(policy(holdout_ratio=0.5), on_cart())
    users = [user for user in map("u{}".format, range(1_000)) if is_audited(user)][:12]
    for user in users:
        stream.send(consenting(user), event(user, "cart"))
    ends = {user: [answer.end for answer in stream.why(user).answers] for user in users}
    held = {d["user_id"] for d in stream.stream.outputs[topics.DECISIONS] if d["status"] != "send"}
    assert ends == {user: ["holdout" if user in held else "sent"] for user in users}
    assert 0 < len(held) < len(users)


@pytest.mark.parametrize(
    ("records", "payloads", "gate", "reason"),
    [
        ([policy(), on_cart()], [event(TOLD, "cart")], "consent", "no_purpose"),
        (
            [policy(), on_cart(audience="purchase_count_30d >= 1")],
            [consenting(TOLD), event(TOLD, "cart")],
            "eligibility",
            "not_in_audience",
        ),
        (
            [policy(cap_sends=1), on_cart()],
            [
                consenting(TOLD),
                event(TOLD, "cart", NOON_MS),
                event(TOLD, "cart", NOON_MS + MINUTE),
            ],
            "caps",
            "global_cap",
        ),
        (
            [policy(), on_cart(min_score=0.99)],
            [consenting(TOLD), event(TOLD, "cart")],
            "arbitration",
            "low_score",
        ),
    ],
)
def test_a_refusal_is_told_with_the_gate_that_stopped_it(
    records: list[ControlRecord], payloads: list[dict[str, Any]], gate: str, reason: str
) -> None:
    stream = Recorded(*records)
    stream.send(*payloads)
    answer = stream.why().answers[-1]
    assert (answer.turns[0].gate, answer.turns[0].reason) == (gate, reason)
    assert answer.turns[0].meaning in printed(stream.why())


def rivals() -> list[ControlRecord]:
    return [policy(), on_cart(), on_cart(id="on-cart-too")]


def test_who_lost_is_told_even_of_a_customer_who_is_not_recorded_in_full() -> None:
    for user in (TOLD, UNTOLD):
        stream = Recorded(*rivals())
        stream.send(consenting(user), event(user, "cart"))
        found = stream.why(user)
        answers = {answer.campaign_id: answer for answer in found.answers}
        assert len(answers) == len(found.answers) == 2
        [winner] = [name for name, answer in answers.items() if answer.end == "sent"]
        [loser] = answers.keys() - {winner}
        turn = answers[loser].turns[0]
        assert turn.reason == "lost_arbitration"
        assert turn.winner == answers[winner].decision_id
        assert all(not each.untold for each in found.inputs)
        assert f"before {loser}" in printed(found)


NIGHT_MS = 1_768_086_000_000
"""23:00 in UTC."""
QUIET = policy(quiet_hours=QuietHours("22:00", "08:00"))


def test_what_waited_for_the_morning_is_one_answer_with_both_of_its_turns() -> None:
    stream = Recorded(QUIET, on_cart())
    stream.send(consenting(TOLD, NIGHT_MS - HOUR), event(TOLD, "cart", NIGHT_MS))
    waiting = stream.why()
    assert story(waiting) == [("on-cart", ["deferred"])]
    due_ms = waiting.answers[0].turns[0].due_ms
    assert unexplained([waiting], due_ms - 1) == []
    assert unexplained([waiting], due_ms + 1) == [waiting.answers[0].decision_id]
    stream.send(event(TOLD, "view", due_ms + HOUR))
    found = stream.why()
    assert story(found) == [("on-cart", ["deferred", "sent"])]
    assert unexplained([found], due_ms + DAY) == []


def test_what_was_taken_back_in_the_night_is_told_with_its_reason() -> None:
    stream = Recorded(QUIET, abandonment())
    stream.send(
        consenting(TOLD, NIGHT_MS - HOUR),
        event(TOLD, "cart", NIGHT_MS - 40 * MINUTE),
        event(TOLD, "view", NIGHT_MS),
        event(TOLD, "purchase", NIGHT_MS + HOUR),
    )
    assert story(stream.why()) == [("cart-abandonment", ["deferred", "reason_gone"])]


def test_a_wait_that_ended_in_a_message_is_told_with_the_event_that_began_it() -> None:
    stream = Recorded(policy(), abandonment())
    stream.send(
        consenting(TOLD),
        event(TOLD, "cart", event_id="left"),
        event(TOLD, "view", NOON_MS + 2 * HOUR),
    )
    [answer] = stream.why().answers
    assert (answer.campaign_id, answer.trigger_event_id) == ("cart-abandonment", "left")


def test_reasons_without_a_name_are_told_as_such_and_never_guessed() -> None:
    stream = Recorded(policy(), on_cart())
    stream.send(event(UNTOLD, "cart"))
    found = stream.why(UNTOLD)
    assert found.answers == []
    assert [each.untold for each in found.inputs] == [["no_purpose"]]
    text = printed(found)
    assert "no_purpose" in text
    assert f"one customer in {AUDITED_SHARE}" in text


def test_records_that_came_twice_make_no_second_answer() -> None:
    stream = Recorded(*rivals())
    stream.send(consenting(TOLD), event(TOLD, "cart"))
    inputs, audits, decisions = stream.topics()
    assert explain(TOLD, inputs * 2, audits * 2, decisions * 2) == stream.why()


def test_nobody_else_is_told_of() -> None:
    stream = Recorded(*rivals())
    stream.send(consenting(TOLD), event(TOLD, "cart"))
    stream.send(consenting(f"{TOLD}0"), event(f"{TOLD}0", "cart"))
    assert {answer.trigger_event_id for answer in stream.why().answers} == {
        each.id for each in stream.why().inputs if each.what == "cart"
    }


def test_a_moment_leaves_out_what_was_long_before_it() -> None:
    stream = Recorded(policy(), on_cart())
    stream.send(
        consenting(TOLD), event(TOLD, "cart"), event(TOLD, "cart", NOON_MS + HOUR, event_id="later")
    )
    found = narrowed(stream.why(), None, NOON_MS + HOUR, MINUTE)
    assert [answer.trigger_event_id for answer in found.answers] == ["later"]
    assert narrowed(stream.why(), "win-back", None, 0).answers == []


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`beckon why` over a stream's topics."""
    stream = Recorded(policy(), on_cart(cooldown_ms=HOUR), viewed_again())
    stream.send(
        consenting(TOLD),
        event(TOLD, "view"),
        event(TOLD, "cart"),
        event(TOLD, "cart", NOON_MS + MINUTE),
    )
    monkeypatch.setattr(command, "control_snapshot", lambda _settings: stream.control)
    monkeypatch.setattr(command, "read_topics", lambda *_args, **_rest: stream.topics())

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(command.app, arguments, env={"COLUMNS": "200"})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    return run


def test_the_command_tells_of_silence_too(call: Callable[..., str]) -> None:
    text = call(TOLD, "--campaign", "viewed-again")
    assert "heard it; it did not set it off" in text
    assert "on-cart" not in text


def test_the_command_tells_that_a_campaign_rests(call: Callable[..., str]) -> None:
    text = call(TOLD, "--campaign", "on-cart")
    assert "rests after its last message until 2023-11-14 23:13:20Z" in text


def test_the_command_speaks_json(call: Callable[..., str]) -> None:
    told = json.loads(call(TOLD, "--json"))
    assert [answer["campaign_id"] for answer in told["answers"]] == ["on-cart"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody",), "nothing is recorded of 'nobody'"),
        ((TOLD, "--campaign", "on-card"), "did you mean 'on-cart'?"),
        ((TOLD, "--last", "soon"), "--last is a number and s, m, h or d"),
        ((TOLD, "--at", "noon"), "--at: "),
    ],
)
def test_the_command_says_what_is_wrong_with_a_question(
    call: Callable[..., str], arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UserMistake, match=said.replace("?", r"\?")):
        call(*arguments)
