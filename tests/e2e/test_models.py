"""A model's way into the running stream and back, and what the night publishes, by command."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from xxhash import xxh3_64_intdigest

from benchmarks.live import Live, eventually
from benchmarks.prove_nightly import spoil
from benchmarks.servers import free_settings, running
from jobs.demo.command import publish
from jobs.demo.services import environment
from jobs.kafka import control_snapshot, ensure_topics, producer
from jobs.models.judge import Verdict
from jobs.models.registry import Registry
from jobs.nightly.tags import payloads
from jobs.run import start_stream
from jobs.settings import Settings
from operators.shard import shard_of
from schemas import topics
from schemas.budget import Budget
from schemas.control import ControlRecord, ItemList, Pacing, control_key
from schemas.errors import RefusedControl
from schemas.triggers import EventTrigger, SlotTrigger
from schemas.wire import encode
from scoring.world import World
from tests.builders import EVEN, HOUR, MINUTE, on_cart, policy
from tests.unit.models.made import artefact

pytestmark = pytest.mark.stack

WINDOW_MS = MINUTE
MUTANTS = 40
WON = Verdict("mean", "v", True, 1_000, 0.1, 0.05, 0.2, 0.99, ())
CLICKED = 10
"""One customer in so many clicks, whatever is shown; v1 and v2 know it, the bad one does not."""
MODELS = {"v1": -2.197, "v2": -2.199, "bad": 1.0}
PURSE = Budget(total=1_000.0, pace="none")


class Stage:
    """A stream with one campaign, its models, and a clock of event time that only goes on."""

    def __init__(self, settings: Settings, live: Live) -> None:
        self.settings = settings
        self.live = live
        self.now_ms = time.time_ns() // 1_000_000 - 20 * HOUR
        self._serial = count()

    def beckon(self, *words: str, code: int = 0) -> str:
        """Run a command; what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", "from jobs.cli import main; main()", *words],
            env=environment(self.settings) | {"COLUMNS": "200"},
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def event(self, user: str, action: str = "cart", **fields: Any) -> dict[str, Any]:
        consent = {"marketing": True, "push": True, "sms": True, "email": True}
        name = f"e{next(self._serial)}"
        return {"event_id": name, "user_id": user, "action": action, "ts": self.now_ms,
                "consent": consent, **fields}  # fmt: skip

    def new_users(self, number: int) -> list[str]:
        return [f"u{next(self._serial)}" for _ in range(number)]

    def one_of(self, users: list[str]) -> list[dict[str, Any]]:
        """Let customers put something into their carts; the examples of it."""
        self.live.ends(self.live.send(*(self.event(user) for user in users)))
        wanted, found = set(users), {}

        def all_came() -> bool:
            rows = self.live.records(topics.EXAMPLES)
            found.update({row["user_id"]: row for row in rows if row["user_id"] in wanted})
            return found.keys() == wanted

        eventually(all_came, "examples are missing", 60)
        return list(found.values())

    def until_held(self, champion: str, beside: str = "", of: list[str] | None = None) -> None:
        """Wait until the stream scores by these two; ``of`` are customers to ask for."""
        users = iter(of or self.new_users(200))

        def held() -> bool:
            [row] = self.one_of([next(users)])
            return (row["model_version"], row.get("shadow_version", "")) == (champion, beside)

        eventually(held, f"the stream does not score by {champion} beside {beside or 'none'}", 60)

    def trial(self, number: int) -> list[dict[str, Any]]:
        """New customers put something into their carts, some click, and the windows close."""
        examples = self.one_of(self.new_users(number))
        clicks = [
            {"outcome_id": f"o-{row['decision_id']}", "user_id": row["user_id"], "kind": "clicked",
             "ts": self.now_ms + 1_000, "decision_id": row["decision_id"]}
            for place, row in enumerate(examples)
            if place % CLICKED == 0
        ]  # fmt: skip
        self.live.send(*clicks, topic=topics.OUTCOMES)
        self.now_ms += 5 * WINDOW_MS
        closing = {shard_of(f"closing-{n}", 16): f"closing-{n}" for n in range(200)}
        self.live.send(*(self.event(user, "login") for user in closing.values()))
        wanted = {row["decision_id"] for row in examples}

        def labelled() -> bool:
            kinds = ("clicked", "expired")
            rows = self.live.records(topics.REWARDS)
            return wanted <= {row["decision_id"] for row in rows if row["kind"] in kinds}

        eventually(labelled, "labels are missing", 60)
        return examples

    def guard(self, code: int = 0) -> str:
        return self.beckon("models", "guard", "--rows", "200", "--hours", "0", code=code)

    def rollouts(self) -> list[dict[str, Any]]:
        found = [each for each in self.live.records(topics.AUDIT) if each["kind"] == "rollout"]
        return sorted(found, key=lambda each: each["ts"])


def drawn(user: str) -> float:
    """Where a customer stands among those whom v2 is tried out on: a share above it has them."""
    return xxh3_64_intdigest(f"v2\x1f{user}".encode()) / 2**64


def in_canary(most: float, least: float = 0.0) -> list[str]:
    """Customers whom a canary of the one share scores, and that of the other does not."""
    names = (f"drawn-{most}-{n}" for n in range(4_000))
    return [name for name in names if least <= drawn(name) < most]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    settings = free_settings(tmp_path_factory.mktemp("models"), task_manager_memory_mb=2_048)
    campaigns: list[ControlRecord] = [
        policy(lateness_ms=1_000, caps=(), learning=EVEN),
        on_cart(attribution_window_ms=WINDOW_MS, channels=("push",)),
    ]
    with running(settings, "kafka", "flink") as stack:
        ensure_topics(settings)
        publish(settings, campaigns)
        start_stream(settings, fresh=True)
        registry = Registry(settings.data_dir)
        for version, bias in MODELS.items():
            registry.add(artefact(version, bias), WON)
        yield Stage(settings, Live(settings, stack))


def test_a_model_goes_through_every_stage_and_back_and_each_move_is_audited(stage: Stage) -> None:
    assert "v1: whole" in stage.beckon("models", "verify")
    assert "has to be in canary" in stage.beckon("models", "promote", "v1", "--to", "all", code=2)
    assert "v1: all (forced)" in stage.beckon("models", "promote", "v1", "--to", "all", "--force")
    stage.until_held("v1")

    assert "v2: shadow" in stage.beckon("models", "promote", "v2")
    stage.until_held("v1", "v2")
    assert "0 of 200 rows are answered" in stage.guard()
    rows = stage.trial(240)
    assert {(row["model_version"], row["shadow_version"]) for row in rows} == {("v1", "v2")}
    assert all(row["shadow_score"] != row["score"] for row in rows)
    assert "v2: canary for 10% of the customers (2" in stage.guard()

    stage.until_held("v2", "v1", of=in_canary(0.1))
    rows = stage.trial(240)
    chosen = {row["user_id"] for row in rows if drawn(row["user_id"]) < 0.1}
    assert {row["user_id"] for row in rows if row["model_version"] == "v2"} == chosen
    assert "of 200 rows are answered" in stage.guard()
    stage.beckon("models", "promote", "v2", "--to", "canary", "--share", "0.5")
    stage.until_held("v2", "v1", of=in_canary(0.5, 0.1))
    stage.trial(500)
    assert "In force: v2; beside it, hot: v1" in stage.guard()
    stage.until_held("v2", "v1")
    stage.trial(240)
    assert "v2: settled" in stage.guard()
    assert "no model is on trial" in stage.guard()

    assert "bad: shadow" in stage.beckon("models", "promote", "bad")
    stage.until_held("v2", "bad")
    stage.trial(240)
    said = stage.guard(code=1)
    assert "bad: rolled back (worse: log loss" in said
    stage.until_held("v2", "v1")

    assert "In force: v1" in stage.beckon("models", "rollback", "--why", "a try")
    stage.until_held("v1")
    told = [(each["version"], each["stage"], each["by"]) for each in stage.rollouts()]
    assert told == [
        ("v1", "all", "hand"), ("v2", "shadow", "hand"), ("v2", "canary", "guard"),
        ("v2", "canary", "hand"), ("v2", "all", "guard"), ("v2", "settled", "guard"),
        ("bad", "shadow", "hand"), ("bad", "rolled back", "guard"),
        ("v2", "rolled back", "hand"),
    ]  # fmt: skip
    assert all(each["because"] for each in stage.rollouts())
    assert "rolled back, by hand: a try" in stage.beckon("models", "show", "v2")
    assert "hot" not in stage.beckon("models", "list")


def test_mutants_of_a_model_become_dead_letters_and_change_nothing(stage: Stage) -> None:
    model = Registry(stage.settings.data_dir).artefact("v1").model
    record = replace(model, updated_ms=time.time_ns() // 1_000_000)
    key, whole = control_key(record), encode(record)
    rng, mutants = np.random.default_rng(17), []
    while len(mutants) < MUTANTS:  # those that change no score are no mutants of the model
        mutant = spoil(whole, rng)
        try:
            World().accept(key, mutant)
        except RefusedControl:
            mutants.append(mutant)
    before = len(stage.live.records(topics.DEAD_LETTERS))
    out = producer(stage.settings)
    for mutant in mutants:
        out.produce(topics.CONTROL, mutant, key)
    assert out.flush(30) == 0

    def letters() -> list[dict[str, Any]]:
        return stage.live.records(topics.DEAD_LETTERS)[before:]

    eventually(lambda: len(letters()) >= MUTANTS, "dead letters are missing", 60)
    assert {letter["reason"] for letter in letters()} <= {"refused_model", "refused_control"}
    rows = stage.one_of(stage.new_users(40))
    assert {row["model_version"] for row in rows} == {"v1"}
    assert {round(row["score"], 4) for row in rows} == {0.1}
    assert len(letters()) == MUTANTS


def test_what_a_night_publishes_is_in_force_and_what_it_says_no_more_is_withdrawn(
    stage: Stage,
) -> None:
    today = datetime.fromtimestamp(stage.now_ms / 1_000, UTC).date()
    live, nights = stage.live, stage.settings.data_dir / "nightly"
    publish(
        stage.settings,
        [
            on_cart(id="loved", trigger=EventTrigger(("search",)), audience="segment = champions"),
            on_cart(id="slot", trigger=SlotTrigger(("view",), "also", "item")),
            on_cart(id="dear", trigger=EventTrigger(("share",)), channels=("sms",), budget=PURSE),
        ],
    )
    lists = [ItemList("also", ("p", "q"), "a"), ItemList("also", ("r",), "b")]
    plan = Pacing("main", today.isoformat(), {}, 500.0)

    def night(number: int, tags: Any, **control: list[ControlRecord]) -> str:
        day = (today + timedelta(days=number)).isoformat()
        steps = {"tags": ("events.jsonl", list(payloads(tags, day, stage.now_ms)))} | {
            step: ("control.jsonl", [encode(record) for record in records])
            for step, records in control.items()
        }
        for step, (name, lines) in steps.items():
            (nights / day / step).mkdir(parents=True)
            (nights / day / step / name).write_bytes(b"".join(line + b"\n" for line in lines))
        stage.beckon("nightly", "publish", "--day", day)
        return (nights / day / "publish" / "report.json").read_text()

    def said(action: str, item: str | None = None) -> set[tuple[str, str]]:
        """What comes of an action of ann's now."""
        stage.now_ms += MINUTE
        [ends] = live.ends(live.send(stage.event("ann", action, item_id=item)))
        return ends

    import pandas as pd

    night(
        -2,
        pd.DataFrame({"segment": {"ann": "champions"}}),
        recommend=lists,
        budget=[plan],
    )
    stage.now_ms += 2 * MINUTE
    eventually(lambda: said("search") == {("decided", "")}, "no segment", 60)
    assert said("view", "a") == {("decided", "")}
    assert said("view", "b") == {("decided", "")}
    eventually(lambda: said("share") == {("suppressed", "below_price")}, "no price", 60)
    shown = {row["item_id"] for row in live.decisions_of("ann") if row["campaign_id"] == "slot"}
    assert shown == {"p", "r"}

    told = night(-1, pd.DataFrame({"gone": {"ann": "segment"}}), recommend=lists[:1])
    assert '"withdrawn"' in told
    keys = {key for key, _ in control_snapshot(stage.settings)}
    assert {"list/also/a", "pacing/main"} <= keys, "the budget step was stopped: its plan stays"
    assert "list/also/b" not in keys
    eventually(
        lambda: said("search") == {("suppressed", "not_in_audience")}, "still a champion", 60
    )
    assert said("view", "a") == {("decided", "")}
    assert said("view", "b") == {("updated", "")}
    assert said("share") == {("suppressed", "below_price")}


def test_a_nights_winner_begins_by_itself_and_is_not_tried_twice(stage: Stage) -> None:
    registry = Registry(stage.settings.data_dir)
    nights = stage.settings.data_dir / "nightly"
    registry.add(artefact("v3", -2.3), WON)

    def night(day: str, verdict: Verdict) -> None:
        (nights / day / "judge").mkdir(parents=True)
        (nights / day / "judge" / "verdict.json").write_bytes(encode(verdict))
        stage.beckon("nightly", "rollout", "--day", day)

    night("2026-01-01", replace(WON, challenger="v3", won=False))
    assert registry.state.on_trial == ""
    night("2026-01-02", replace(WON, challenger="v3"))
    assert (registry.state.on_trial, registry.state.stage) == ("v3", "shadow")
    stage.until_held("v1", "v3")
    assert "skipped" in stage.beckon("nightly", "rollout", "--day", "2026-01-02")
    stage.beckon("models", "rollback", "--why", "not this one")
    night("2026-01-03", replace(WON, challenger="v3"))
    assert registry.state.on_trial == ""
    assert stage.rollouts()[-2]["by"] == "night"
