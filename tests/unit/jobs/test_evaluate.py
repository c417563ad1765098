"""`beckon evaluate`: from examples and rewards to what another policy would have earned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from jobs import evaluate as command
from jobs.archive.tables import EXAMPLES, REWARDS
from jobs.archive.write import Archive
from jobs.evaluate import from_archive, labelled, moment_of, rounds_of
from schemas.errors import UserMistake
from schemas.learning import Example, Reward
from schemas.wire import encode
from scoring.evaluation import evaluate
from scoring.policies.context import CONTEXTS, Context
from tests.harness import NOON_MS

RATES = {"sms": 0.1, "push": 0.3}


def example(number: int, channel: str = "sms", **fields: Any) -> Example:
    return Example(
        **{
            **{"decision_id": f"d{number}", "user_id": "ann", "campaign_id": "spring"},
            **{"channel": channel, "features": [], "feature_hash": "", "score": 0.1},
            **{"propensity": 0.5, "model_version": "prior", "decided_at_ms": NOON_MS + number},
            **{"channels": ("sms", "push"), **fields},
        }
    )


def reward(number: int, kind: str, channel: str = "sms", **fields: Any) -> Reward:
    worth = float(kind == "clicked")
    return Reward(f"d{number}", "ann", "spring", channel, kind, worth, NOON_MS, **fields)  # type: ignore[arg-type]


def history(count: int = 2_000) -> Iterator[Example | Reward]:
    random = np.random.default_rng(7)
    for number in range(count):
        channel = ("sms", "push")[random.integers(2)]
        yield example(number, channel)
        clicked = random.random() < RATES[channel]
        yield reward(number, "clicked" if clicked else "expired", channel)
        if clicked:
            order = {"outcome_id": f"o{number}", "order_id": f"o{number}"}
            yield reward(number, "converted", channel, value=10.0, **order)


def run(monkeypatch: pytest.MonkeyPatch, records: list[Example | Reward], *args: str) -> Result:
    monkeypatch.setattr(command, "from_topics", lambda settings, since_ms: records)
    app = Typer()
    app.command()(command.evaluate)
    return CliRunner().invoke(app, list(args))


@pytest.mark.parametrize(
    ("policy", "expected"), [("push=1", 0.3), ("sms=1,push=3", 0.25), ("uniform", 0.2)]
)
def test_a_mix_is_worth_what_its_channels_are(policy: str, expected: float) -> None:
    found = evaluate(rounds_of(labelled(history(), "clicks"), policy))
    assert found.ips.normal.low < expected < found.ips.normal.high


def test_a_policy_that_learns_does_so_from_the_older_half() -> None:
    log = labelled(history(), "clicks")
    rounds = rounds_of(log, "beta-thompson")
    assert len(rounds) == len(log) - len(log) // 2
    assert rounds[0].target["spring/push"] > 0.99


def test_a_policy_that_chooses_by_context_learns_by_it_and_refuses_a_log_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(3)
    morning, evening = (CONTEXTS.index(Context(0, part, None)) for part in (1, 3))
    records: list[Example | Reward] = []
    for number in range(4_000):
        channel = ("sms", "push")[random.integers(2)]
        case = (morning, evening)[random.integers(2)]
        better = "sms" if case == morning else "push"
        clicked = random.random() < (0.3 if channel == better else 0.05)
        records.append(example(number, channel, case=case))
        records.append(reward(number, "clicked" if clicked else "expired", channel))
    rounds = rounds_of(labelled(records, "clicks"), "linear-thompson")
    shares = {tuple(each.target.values()) for each in rounds}
    assert {shares_ > (0.5, 0.5) for shares_ in shares} == {True, False}
    plain = evaluate(rounds_of(labelled(records, "clicks"), "beta-thompson"))
    assert evaluate(rounds).dr.value > 1.3 * plain.dr.value
    refused = run(monkeypatch, list(history(100)), "--policy", "linear-thompson")
    assert isinstance(refused.exception, UserMistake)
    assert "logged without" in str(refused.exception)


def test_the_archive_tells_what_the_topics_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = list(history(600))
    monkeypatch.setenv("BECKON_ARCHIVE_DIR", str(tmp_path))
    with Archive(tmp_path) as kept:
        kept.append(
            {
                "examples": [
                    EXAMPLES.row(encode(r), "") for r in records if isinstance(r, Example)
                ],
                "rewards": [REWARDS.row(encode(r), "") for r in records if isinstance(r, Reward)],
            }
        )
    for metric in ("clicks", "revenue"):
        log = from_archive(tmp_path, metric, NOON_MS + 100, "spring")
        assert [each[1:] for each in log] == [
            each[1:] for each in labelled(records, metric, NOON_MS + 100, "spring")
        ]
    assert from_archive(tmp_path, "clicks", campaign="other") == []
    words = ("--policy", "push=1", "--json")
    archived = json.loads(run(monkeypatch, [], *words, "--archive").output)
    assert archived == json.loads(run(monkeypatch, records, *words).output)


def test_revenue_is_what_the_entries_of_orders_add_up_to_each_counted_once() -> None:
    records = [
        example(1),
        reward(1, "clicked"),
        *[reward(1, "converted", value=8.0, outcome_id="o", order_id="a")] * 2,
        reward(1, "reversed", value=-3.0, outcome_id="p", order_id="a"),
        example(2),
        reward(2, "expired"),
    ]
    assert [gain for _, _, gain in labelled(records, "revenue")] == [5.0, 0.0]


def test_only_messages_of_the_campaign_and_time_whose_window_has_closed_count() -> None:
    records = [
        *(example(1), reward(1, "expired")),
        *(example(2, holdout=True), example(3, campaign_id="other")),
        *(example(5), reward(5, "clicked"), example(7), reward(7, "expired"), example(8)),
        *(example(9), reward(9, "clicked")),
    ]
    log = labelled(records, "clicks", NOON_MS + 2, "spring")
    assert [each.decision_id for each, _, _ in log] == ["d5", "d7"]


def test_channels_that_were_closed_are_closed_to_the_other_policy() -> None:
    records = [example(1, channels=("sms",), propensity=1.0), reward(1, "expired")]
    [only] = rounds_of(labelled(records, "clicks"), "push=1")
    assert only.target == {"spring/sms": 1.0}


def test_the_command_gives_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    records = list(history())
    found = json.loads(run(monkeypatch, records, "--policy", "push=1", "--json").output)
    assert found["ips"]["normal"]["low"] < 0.3 < found["ips"]["normal"]["high"]
    shown = run(monkeypatch, records, "--policy", "push=1", "--metric", "revenue")
    assert shown.exit_code == 0
    assert "SNIPS" in shown.output


def test_the_command_refuses_what_was_never_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        each
        for number in range(200)
        for each in (
            example(number, channels=("sms", "email"), propensity=0.999),
            reward(number, "expired"),
        )
    ]
    refused = run(monkeypatch, records, "--policy", "email=1", "--json")
    assert refused.exit_code == 2
    assert json.loads(refused.output)["arms"] == ["spring/email"]
    spoken = run(monkeypatch, records, "--policy", "email=1")
    assert isinstance(spoken.exception, UserMistake)
    assert "never tried in 200 rounds: spring/email" in str(spoken.exception)


@pytest.mark.parametrize("policy", ["", "best", "sms=much", "sms=-1"])
def test_a_policy_that_there_is_none_of_is_a_mistake(policy: str) -> None:
    with pytest.raises(UserMistake, match="beta-thompson"):
        rounds_of([], policy)


def test_a_moment_is_a_duration_back_or_a_time_with_a_zone() -> None:
    assert moment_of("1h", NOON_MS / 1_000) == NOON_MS - 3_600_000
    assert moment_of("2023-11-14T22:13:20Z", 0) == NOON_MS
    for text in ("yesterday", "2023-11-14T22:13:20"):
        with pytest.raises(UserMistake, match="--since"):
            moment_of(text, 0)


def test_a_log_whose_windows_are_open_yet_says_what_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = run(monkeypatch, [example(1), reward(1, "clicked")], "--policy", "uniform")
    assert isinstance(refused.exception, UserMistake)
    assert "cannot tell: no message of that time has all its answers in" in str(refused.exception)


def test_where_nothing_was_earned_no_interval_of_nothing_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records: list[Example | Reward] = []
    for number in range(60):
        channel = ("sms", "push")[number % 2]
        records += [example(number, channel), reward(number, "expired", channel)]
    refused = run(monkeypatch, records, "--policy", "uniform", "--metric", "revenue")
    assert isinstance(refused.exception, UserMistake)
    assert "of 60 messages none brought any revenue" in str(refused.exception)
