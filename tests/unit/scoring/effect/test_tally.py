from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import Guardrails, Target
from schemas.decision import Decision, Offer
from schemas.effect import Effect
from schemas.learning import Example, Reward
from schemas.outcome import Outcome
from scoring.effect.memory import HORIZON_MS, HOUR_MS, State
from scoring.effect.tally import ORGANIC, Tally
from scoring.features import FEATURE_HASH, FEATURES
from tests.builders import on_cart, policy

AT = 1_772_409_600_000
Take = Callable[[Tally], None]


def decision(name: str, at_ms: int = AT, **fields: Any) -> Decision:
    return Decision(
        **{
            "decision_id": name,
            "status": "send",
            "user_id": f"u-{name}",
            "campaign_id": "on-cart",
            "campaign_version": 1,
            "trigger": "event",
            "trigger_event_id": "e",
            "channel": "sms",
            "propensity": 0.5,
            "score": 0.1,
            "decided_at_ms": at_ms,
            "ingested_ms": at_ms,
            "expires_at_ms": at_ms + HOUR_MS,
            "model_version": "prior",
            "feature_hash": FEATURE_HASH,
            "policy_version": 1,
            "posterior_version": 0,
            "offer": Offer(),
            "reason": "",
            "cost_micros": 50_000,
            **fields,
        }
    )


def example(of: Decision, orders: float = 0.0) -> Example:
    features = [0.0] * len(FEATURES)
    features[FEATURES.index("orders_log")] = orders
    return Example(
        of.decision_id, of.user_id, of.campaign_id, of.channel, features, FEATURE_HASH, 0.1, 0.5,
        "prior", of.decided_at_ms, of.status == "holdout",
    )  # fmt: skip


def reward(of: Decision, kind: str, ts: int = AT, **fields: Any) -> Reward:
    return Reward(of.decision_id, of.user_id, of.campaign_id, of.channel, kind, 0.0, ts, **fields)  # type: ignore[arg-type]


def story(seed: int, count: int = 40) -> list[list[Take]]:
    """What happens, as each topic tells it."""
    draw = random.Random(seed)
    decisions: list[Take] = []
    examples: list[Take] = []
    rewards: list[Take] = []
    outcomes: list[Take] = []
    for number in range(count):
        held = number % 4 == 0
        made = decision(
            f"d{number}",
            AT + draw.randrange(3 * HOUR_MS),
            user_id=f"u{number % 25}",
            status="holdout" if number % 25 % 4 == 0 else "send",
            channel=draw.choice(["sms", "push"]),
            offer=Offer("coupon", 0.1 * draw.randrange(3)),
        )
        decisions.append(lambda t, d=made: t.on_decision(d, AT))
        examples.append(lambda t, d=made: t.on_example(example(d), AT))
        for kind in draw.sample(["clicked", "unsubscribed", "converted", "complained"], 2):
            fields: dict[str, Any] = {"order_id": "o", "outcome_id": "c"}
            if kind == "converted":
                fields |= {"value": 8.0, "share": 1.0, "orders": 1, "order_value": 8.0}
            told = reward(made, kind, made.decided_at_ms + 1_000, **fields)
            rewards.append(lambda t, r=told: t.on_reward(r, AT))
        if not held:
            heard = Outcome(f"x{number}", made.user_id, "delivered", AT, decision_id=f"d{number}")
            outcomes.append(lambda t, o=heard: t.on_outcome(o, AT, AT))
    return [decisions, examples, rewards, outcomes]


def told(tally: Tally) -> dict[str, Effect]:
    tally.touched = set(tally.state.cells)
    tally.compared = set(tally.state.groups)
    return {effect.key: rounded(effect) for effect in tally.take_effects()}


def rounded(effect: Effect) -> Effect:
    plain = msgspec.to_builtins(effect)
    for name, value in plain["counted"].items():
        plain["counted"][name] = round(value, 6)
    for name in ("roi", "conversion"):
        plain[name] = round(plain[name], 6)
    return msgspec.convert(plain, Effect)


def fresh(state: State | None = None, **fields: Any) -> Tally:
    tally = Tally(state)
    tally.on_control(policy(holdout_ratio=0.25))
    tally.on_control(on_cart(**fields))
    return tally


def fold(takes: Sequence[Take]) -> Tally:
    tally = fresh()
    for take in takes:
        take(tally)
    return tally


@given(st.integers(0, 50), st.randoms(use_true_random=False))
def test_no_interleaving_repeat_or_restart_changes_a_figure(seed: int, draw: random.Random) -> None:
    topics = story(seed)
    expected = told(fold([take for topic in topics for take in topic]))
    queues = [list(topic) for topic in topics]
    tally = fresh()
    while any(queues):
        queue = draw.choice([queue for queue in queues if queue])
        take = queue.pop(0)
        for _ in range(draw.choice([1, 1, 2])):
            take(tally)
        if draw.random() < 0.1:
            data = msgspec.msgpack.encode(tally.state)
            tally = fresh(msgspec.msgpack.decode(data, type=State))
    assert told(tally) == expected


def test_the_parts_of_a_campaign_add_up_to_the_whole() -> None:
    found = told(fold([take for topic in story(3) for take in topic]))
    whole = found["on-cart/*/*/*"].counted
    for part in ("channel", "segment", "hour_ms"):
        cells = [
            each
            for each in found.values()
            if getattr(each, part) is not None
            and all(
                getattr(each, other) is None for other in {"channel", "segment", "hour_ms"} - {part}
            )
        ]
        assert sum(each.counted.sends for each in cells) == whole.sends
        assert sum(each.counted.revenue for each in cells) == pytest.approx(whole.revenue)
    assert whole.sends + whole.held_out == 40


def test_cost_revenue_margin_and_roi_are_what_the_arithmetic_says() -> None:
    tally = fresh()
    made = decision("d1", offer=Offer("coupon", 0.1))
    tally.on_decision(made, AT)
    tally.on_reward(reward(made, "converted", value=90.0, share=1.0, order_id="o"), AT)
    found = told(tally)["on-cart/*/*/*"]
    assert found.counted.cost == 0.05
    assert found.counted.revenue == 90.0
    # A list price of 100 with 30 % margin, sold for 90: 20 stay, less the message.
    assert found.counted.margin == pytest.approx(20.0 - 0.05)
    assert found.roi == 1800.0
    tally.on_reward(reward(made, "reversed", value=-90.0, share=-1.0, order_id="o"), AT)
    back = told(tally)["on-cart/*/*/*"]
    assert (back.counted.revenue, back.counted.conversions, back.roi) == (0.0, 0.0, 0.0)


def test_roi_is_0_at_no_cost() -> None:
    tally = fresh()
    made = decision("d1", cost_micros=0)
    tally.on_decision(made, AT)
    tally.on_reward(reward(made, "converted", value=90.0, share=1.0), AT)
    assert told(tally)["on-cart/*/*/*"].roi == 0.0


def test_what_is_credited_to_nobody_is_organic() -> None:
    tally = fresh()
    tally.on_reward(
        Reward("", "u1", "", None, "converted", 0.0, AT, 20.0, outcome_id="o1", share=1.0), AT
    )
    assert told(tally)[f"{ORGANIC}/*/*/*"].counted.revenue == 20.0


def test_the_lift_of_a_market_whose_truth_is_known_is_found_with_its_segment() -> None:
    draw = random.Random(4)
    tally = fresh()
    for number in range(12_000):
        user, held = f"u{number}", number % 4 == 0
        segment = "loyal" if number % 3 else "new"
        tally.on_segment(user, segment)
        made = decision(f"d{number}", user_id=user, status="holdout" if held else "send")
        before = draw.random()
        tally.on_decision(made, AT)
        tally.on_example(example(made, before), AT)
        rate = 0.10 + 0.3 * before + (0.0 if held else 0.10 if segment == "loyal" else 0.02)
        if draw.random() < rate:
            entry = {"orders": 1, "order_value": 10.0, "order_id": "o"}
            tally.on_reward(reward(made, "converted", AT, **entry), AT)
    found = told(tally)
    (whole,) = (each for each in found["on-cart/*/*/*"].lifts if each.metric == "orders")
    (loyal,) = (each for each in found["on-cart/*/loyal/*"].lifts if each.metric == "orders")
    assert whole.low < 0.10 * 2 / 3 + 0.02 / 3 < whole.high
    assert loyal.low < 0.10 < loyal.high
    assert whole.low > 0
    assert whole.customers == 12_000
    p = found["on-cart/*/*/*"].sample_ratio_p
    assert p is not None
    assert p > 0.05


def test_groups_of_the_wrong_sizes_are_told() -> None:
    tally = fresh()
    for number in range(2_000):
        status = "holdout" if number % 10 == 0 else "send"
        made = decision(f"d{number}", user_id=f"u{number}", status=status)
        tally.on_example(example(made), AT)
    p = told(tally)["on-cart/*/*/*"].sample_ratio_p
    assert p is not None
    assert p < 1e-6


def test_a_target_is_held_against_what_was_reached_by_the_hour() -> None:
    target = Target("sends", 100.0, AT, AT + 10 * HOUR_MS)
    tally = fresh(target=target)
    for number in range(30):
        tally.on_decision(decision(f"d{number}", AT + number * 4 * 60_000), AT)
    found = told(tally)
    first, second = (found[f"on-cart/*/*/{AT + hour * HOUR_MS}"].gap for hour in (0, 1))
    assert first is not None
    assert second is not None
    assert (first.due, first.reached) == (10.0, 15.0)
    assert (round(second.due, 3), second.reached) == (19.333, 30.0)
    assert found["on-cart/*/*/*"].gap == second


def test_a_campaign_above_its_guardrail_is_paused_once_and_judged_anew_when_it_goes_on() -> None:
    rails = Guardrails(unsubscribed=0.01)
    tally = fresh(guardrails=rails)
    for number in range(300):
        made = decision(f"d{number}", user_id=f"u{number}")
        tally.on_decision(made, AT)
        if number % 10 == 0:
            tally.on_reward(reward(made, "unsubscribed"), AT)
    (why,) = tally.over_limit().values()
    assert "30 of 300 messages (10.00%) unsubscribed" in why
    tally.on_control(on_cart(guardrails=rails, status="paused", version=2))
    assert tally.over_limit() == {}
    tally.on_control(on_cart(guardrails=rails, version=3))
    assert tally.over_limit() == {}
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(tally.state), type=State)
    assert fresh(state, guardrails=rails).over_limit() == {}


def test_what_is_old_is_forgotten_and_its_figures_stay() -> None:
    tally = fold([take for topic in story(1) for take in topic])
    before = told(tally)
    late = decision("late", AT, campaign_id="other")
    tally.on_decision(late, AT + HORIZON_MS + 1)
    tally.forget()
    assert len(tally.state.shown) == 1
    assert not tally.state.seen
    after = told(tally)
    assert {key: each for key, each in after.items() if each.campaign_id == "on-cart"} == before
