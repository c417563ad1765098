"""What `learn` makes of exposures, rewards and rules, through the whole stream without a JVM."""

from __future__ import annotations

from typing import Any

import pytest

from operators import names
from operators.learning import Learner, published_in
from schemas import topics
from schemas.experiment import Experiment, Variant
from schemas.learning_rules import Learning, PolicyKind
from schemas.wire import encode
from scoring.experiments.assignment import variant_of
from scoring.policies import POLICIES
from tests.builders import DAY, HOUR, MINUTE, on_cart, policy
from tests.harness import NOON_MS, Harness, consenting, control, event

RULES = policy(caps=())


def shopping(stream: Harness, customers: int, start_ms: int = NOON_MS) -> list[dict[str, Any]]:
    """A decision for each of so many customers, a second apart."""
    made = []
    for number in range(customers):
        user, ts = f"u{number}", start_ms + 1_000 * number
        made += stream.send(
            consenting(user, ts - 1), event(user, "cart", ts, event_id=f"{user}-{ts}")
        )
    return made


def answer(stream: Harness, decision: dict[str, Any], kind: str, after_ms: int = 5) -> None:
    stream.outcome(
        outcome_id=f"{kind}-{decision['decision_id']}",
        user_id=decision["user_id"],
        kind=kind,
        ts=decision["decided_at_ms"] + after_ms,
        decision_id=decision["decision_id"],
    )


def newest(stream: Harness, kind: str) -> dict[tuple[str, ...], dict[str, Any]]:
    found = {}
    for each in stream.outputs[topics.CONTROL]:
        if each["kind"] == kind:
            found[each["campaign_id"], each.get("channel", ""), each["variant"]] = each
    return found


def sums(stream: Harness) -> dict[str, tuple[float, float]]:
    """Exposures and clicks by channel, as published."""
    return {
        key[1]: (each["met"][0], each["won"][0])
        for key, each in newest(stream, "posterior").items()
    }


def oracle(stream: Harness) -> dict[str, tuple[float, float]]:
    """The same from the decisions and the rewards that left the stream."""
    rewards = stream.outputs[topics.REWARDS]
    back = {each["decision_id"] for each in rewards if each["kind"] == "bounced"}
    clicked = {each["decision_id"] for each in rewards if each["kind"] == "clicked"} - back
    found: dict[str, tuple[float, float]] = {}
    for each in stream.outputs[topics.DECISIONS]:
        if each["status"] == "send":
            seen, won = found.get(each["channel"], (0.0, 0.0))
            name = each["decision_id"]
            found[each["channel"]] = seen + (name not in back), won + (name in clicked)
    return found


def test_posteriors_are_what_decisions_and_rewards_say() -> None:
    stream = Harness([RULES, on_cart(attribution_window_ms=HOUR)])
    for number, decision in enumerate(shopping(stream, 60)):
        if number % 3:
            answer(stream, decision, ("clicked", "bounced", "delivered")[number % 7 % 3])
    stream.tick(NOON_MS + DAY)
    assert sums(stream) == oracle(stream)
    assert not stream.unlabelled


def test_a_crash_counts_no_reward_twice_and_loses_none() -> None:
    stream = Harness([RULES, on_cart(attribution_window_ms=HOUR)])
    shopping(stream, 20)
    saved = stream.checkpoint()
    challenger, waiting = stream.challenger, dict(stream.unlabelled)
    later = [event(f"u{n}", "cart", NOON_MS + MINUTE + n, event_id=f"again{n}") for n in range(20)]
    decisions = stream.send(*later)
    clicks = [
        {
            "outcome_id": f"c{each['decision_id']}",
            "user_id": each["user_id"],
            "kind": "clicked",
            "ts": each["decided_at_ms"] + 9,
            "decision_id": each["decision_id"],
        }
        for each in decisions[::2]
    ]
    stream.send(*clicks, topic=topics.OUTCOMES)
    expected = sums(stream)
    stream.crash(saved)
    stream.challenger = challenger
    stream.unlabelled.clear()
    stream.unlabelled.update(waiting)
    stream.send(*later)
    stream.send(*clicks, topic=topics.OUTCOMES)
    assert sums(stream) == expected
    examples: dict[str, set[bytes]] = {}
    for each in stream.outputs[topics.EXAMPLES]:
        examples.setdefault(each["decision_id"], set()).add(encode(each))
    assert len(examples) == 40
    assert {len(contents) for contents in examples.values()} == {1}


def test_a_job_that_starts_without_its_state_goes_on_from_what_was_published() -> None:
    stream = Harness([RULES, on_cart()])
    for decision in shopping(stream, 10):
        answer(stream, decision, "clicked")
    before = sums(stream)
    published = published_in(
        (f"{each['kind']}/{number}", encode(each))
        for number, each in enumerate([*newest(stream, "posterior").values()])
    )
    stream.arms.clear()
    stream.learner = Learner((1.0, 19.0), published)
    [decision] = stream.send(consenting("new"), event("new", "cart"))
    seen, won = before[decision["channel"]]
    assert sums(stream)[decision["channel"]] == (seen + 1, won)


@pytest.mark.parametrize("kind", POLICIES)
def test_every_policy_is_chosen_by_the_campaign_and_keeps_its_floor(kind: PolicyKind) -> None:
    rules = Learning(policy=kind, floor_ratio=0.1)
    stream = Harness([RULES, on_cart(learning=rules)])
    for decision in shopping(stream, 60):
        if decision["channel"] == "sms":
            answer(stream, decision, "clicked")
    mixes = [each for each in stream.outputs[topics.CONTROL] if each["kind"] == "mix"]
    assert min(share for each in mixes for share in each["shares"]) >= 0.1 - 1e-9
    assert min(d["propensity"] for d in stream.outputs[topics.DECISIONS]) >= 0.1 - 1e-9
    assert {each["case"] >= 0 for each in mixes} == {POLICIES[kind].contextual}


def test_the_propensity_on_a_decision_is_the_share_of_the_mix_in_force() -> None:
    stream = Harness([RULES, on_cart()])
    for decision in shopping(stream, 80):
        shares = dict(zip(*plan_of(stream), strict=True))
        if decision["channel"] == "push":
            answer(stream, decision, "clicked")
        assert 0.02 - 1e-9 <= decision["propensity"] <= 1.0
        assert set(shares) == {"sms", "push", "email"}
    shares = dict(zip(*plan_of(stream), strict=True))
    [last] = stream.send(consenting("last"), event("last", "cart", NOON_MS + HOUR))
    assert last["propensity"] == pytest.approx(shares[last["channel"]], abs=1e-12)


def plan_of(stream: Harness) -> tuple[list[str], list[float]]:
    """Channels and shares of the newest mix."""
    mix = [each for each in stream.outputs[topics.CONTROL] if each["kind"] == "mix"][-1]
    return mix["channels"], mix["shares"]


def test_no_share_moves_faster_than_the_limit_whatever_comes_in() -> None:
    stream = Harness([RULES, on_cart()])
    for decision in shopping(stream, 200):
        if decision["channel"] == "push":
            answer(stream, decision, "clicked")
    mixes = [each for each in stream.outputs[topics.CONTROL] if each["kind"] == "mix"]
    first = mixes[0]["shares"]
    assert max(abs(b - a) for each in mixes for a, b in zip(first, each["shares"], strict=True)) < (
        0.2 + 1e-9
    )
    assert dict(zip(mixes[-1]["channels"], mixes[-1]["shares"], strict=True))["push"] > 0.45


def test_a_channel_that_is_off_gets_nothing_from_then_on_and_its_arm_is_kept() -> None:
    stream = Harness([RULES, on_cart()])
    shopping(stream, 30)
    before = sums(stream)["sms"]
    stream.put(on_cart(learning=Learning(off=("sms",)), updated_ms=1))
    made = shopping(stream, 60, NOON_MS + HOUR)
    assert len(made) == 60
    assert {each["channel"] for each in made} == {"push", "email"}
    assert sums(stream)["sms"] == before
    assert all("sms" not in each["channels"] for each in stream.outputs[topics.EXAMPLES][-60:])


def test_the_kill_switch_puts_a_fixed_mix_in_force_at_once() -> None:
    stream = Harness([RULES, on_cart()])
    shopping(stream, 30)
    stream.put(on_cart(learning=Learning(fixed={"email": 1.0}), updated_ms=1))
    made = shopping(stream, 20, NOON_MS + HOUR)
    assert {(each["channel"], each["propensity"]) for each in made} == {("email", 1.0)}


def test_a_campaign_of_which_every_channel_is_off_says_so() -> None:
    house = policy(learning=Learning(fixed={"sms": 1.0}), caps=())
    stream = Harness([house, on_cart(channels=("push",))])
    assert stream.send(consenting(), event(action="cart")) == []
    assert stream.ends()[-1][3:] == ("suppressed", "switched_off")


def test_two_policies_that_learn_are_compared_with_posteriors_of_their_own() -> None:
    trial = Experiment(
        "which",
        (Variant("thompson", 0.5), Variant("ucb", 0.5, learning=Learning("bayes-ucb"))),
        campaigns=("on-cart",),
    )
    stream = Harness([RULES, on_cart(), trial])
    made = shopping(stream, 60)
    for decision in made:
        assert decision["variant"] == f"which/{variant_of(trial, decision['user_id'])}"
        if decision["variant"] == "which/ucb":
            answer(stream, decision, "clicked")
    assert {each["variant"] for each in stream.outputs[topics.EXAMPLES]} == {
        "which/thompson",
        "which/ucb",
    }
    won = {"which/thompson": 0.0, "which/ucb": 0.0}
    seen = dict(won)
    for (_, _, variant), each in newest(stream, "posterior").items():
        won[variant] += each["won"][0]
        seen[variant] += each["met"][0]
    assert won["which/thompson"] == 0.0
    assert won["which/ucb"] == seen["which/ucb"]
    assert sum(seen.values()) == len(made)


def test_an_experiment_that_ends_takes_its_arms_along() -> None:
    trial = Experiment("t", (Variant("a", 0.5), Variant("b", 0.5)), campaigns=("on-cart",))
    stream = Harness([RULES, on_cart(), trial])
    [decision, *_] = shopping(stream, 10)
    assert any(key[2] for key in stream.decider.world.mixes.posteriors)
    stream._collect(stream.decider.on_control("experiment/t", None))
    assert not any(key[2] for key in stream.decider.world.mixes.posteriors)
    answer(stream, decision, "clicked")
    assert not any(key[2] for key in stream.decider.world.mixes.posteriors)


def test_the_plan_is_told_of_each_hour_with_its_reason() -> None:
    stream = Harness([RULES, on_cart()])
    for hour in range(3):
        for decision in shopping(stream, 40, NOON_MS + hour * HOUR):
            if decision["channel"] == "push":
                answer(stream, decision, "clicked")
    plans = [each for each in stream.outputs[topics.AUDIT] if each["kind"] == "plan"]
    assert [each["ts"] // HOUR for each in plans] == [NOON_MS // HOUR + n for n in (1, 2)]
    assert plans[0]["limited"] == "speed"
    assert plans[0]["after"]["push"] > plans[0]["before"]["push"]
    assert "push" in plans[0]["because"]


def test_the_challenger_learns_each_example_once_and_decides_nothing() -> None:
    stream = Harness([RULES, on_cart(attribution_window_ms=HOUR)])
    made = shopping(stream, 30)
    for decision in made[::3]:
        answer(stream, decision, "clicked")
    stream.tick(NOON_MS + DAY)
    told = [each for each in stream.outputs[topics.AUDIT] if each["kind"] == "shadow"]
    rows = [row for each in told for row in each["rows"]]
    assert sorted(row[0] for row in rows) == sorted(each["decision_id"] for each in made)
    assert sum(row[1] for row in rows) == len(made[::3])
    assert told[-1]["examples"] == len(made)
    assert {each["model_version"] for each in made} == {"prior"}


def test_rules_travel_inward_only() -> None:
    stream = Harness([RULES, on_cart()])
    assert all(each.topic == names.RULES for each in stream.decider.on_control(*control(RULES)[0]))
