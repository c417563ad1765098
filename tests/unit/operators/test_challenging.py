"""The challenger: what it learns from, what it tells, and that it decides nothing."""

from __future__ import annotations

import random
from math import exp, log
from typing import Any

import pytest
from msgspec import convert, json

from operators import names
from operators.challenging import losses, on_messages
from operators.records import Output
from operators.shard import SEPARATOR
from schemas import topics
from schemas.audit import Shadow
from schemas.learning import Example, Reward
from schemas.model import Challenger
from schemas.wire import encode
from tests.builders import HOUR, on_cart, policy
from tests.harness import NOON_MS, Harness, Unlabelled, consenting, event


def exposed(number: int, features: list[float], **fields: Any) -> str:
    known = {"score": 0.1, "propensity": 0.5, "model_version": "m", "feature_hash": "h"}
    example = Example(
        f"d{number}", "u", "c", "sms", features, decided_at_ms=number, **{**known, **fields}
    )
    return _message(names.EXPOSED, encode(example))


def rewarded(number: int, kind: Any) -> str:
    reward = Reward(f"d{number}", "u", "c", "sms", kind, float(kind == "clicked"), 1_000 + number)
    return _message(topics.REWARDS, encode(reward))


def _message(kind: str, value: bytes) -> str:
    return f"{kind}{SEPARATOR}c{SEPARATOR}{value.decode('latin-1')}"


def told(outputs: list[Output]) -> Shadow:
    output, *_ = outputs
    topic, key, value = output
    assert (topic, key) == (topics.AUDIT, names.CHALLENGER)
    return json.decode(value, type=Shadow)


def test_an_example_is_learned_from_when_its_label_comes_and_once() -> None:
    waiting = Unlabelled()
    state, outputs = on_messages(None, waiting, [exposed(1, [1.0]), exposed(2, [0.5])])
    assert (state, outputs) == (None, [])
    state, outputs = on_messages(state, waiting, [rewarded(1, "clicked"), rewarded(1, "expired")])
    shadow = told(outputs)
    assert [row[:3] for row in shadow.rows] == [("d1", 1, 0.1)]
    assert (shadow.examples, shadow.positives, shadow.ts) == (1, 1, 1_001)
    assert list(waiting) == ["d2"]
    assert on_messages(state, waiting, [rewarded(1, "clicked")]) == (state, [])


@pytest.mark.parametrize("kind", ["bounced", "converted", "unsubscribed"])
def test_what_is_no_label_teaches_nothing(kind: str) -> None:
    waiting = Unlabelled()
    state, outputs = on_messages(None, waiting, [exposed(1, [1.0]), rewarded(1, kind)])
    assert (state, outputs) == (None, [])
    assert list(waiting) == ([] if kind == "bounced" else ["d1"])


def test_a_held_out_customer_has_no_label_to_wait_for() -> None:
    waiting = Unlabelled()
    on_messages(None, waiting, [exposed(1, [1.0], holdout=True)])
    assert not waiting


def test_both_losses_are_those_of_the_scores_that_were_told_and_made_before_learning() -> None:
    draw, waiting, state = random.Random(4), Unlabelled(), None
    rows: list[tuple[str, int, float, float]] = []
    added = [0.0, 0.0, 0.0]
    for start in range(0, 3_000, 50):
        batch = []
        for number in range(start, start + 50):
            x = draw.uniform(-1, 1)
            clicked = draw.random() < (0.6 if x > 0 else 0.05)
            batch += [exposed(number, [x]), rewarded(number, "clicked" if clicked else "expired")]
        state, outputs = on_messages(state, waiting, batch)
        shadow = told(outputs)
        rows += shadow.rows
        added = [one + other for one, other in zip(added, losses(outputs), strict=True)]
    assert len(rows) == shadow.examples == added[0] == 3_000
    for place, mean, total in (
        (2, shadow.champion_log_loss, added[1]),
        (3, shadow.challenger_log_loss, added[2]),
    ):
        naive = -sum(log(row[place] if row[1] else 1 - row[place]) for row in rows)
        assert mean == pytest.approx(naive / 3_000)
        assert total == pytest.approx(naive)
    assert shadow.challenger_log_loss < shadow.base_log_loss < shadow.champion_log_loss


def test_a_prediction_knows_nothing_of_its_own_label() -> None:
    waiting = Unlabelled()
    start = [exposed(1, [1.0]), rewarded(1, "clicked"), exposed(2, [0.3]), rewarded(2, "expired")]
    state, _ = on_messages(None, waiting, start)
    made = {}
    for kind in ("clicked", "expired"):
        _, outputs = on_messages(state, waiting, [exposed(3, [0.7]), rewarded(3, kind)])
        [(_, _, _, made[kind])] = told(outputs).rows
    assert made["clicked"] == made["expired"]


def test_other_features_begin_anew() -> None:
    waiting = Unlabelled()
    state, _ = on_messages(None, waiting, [exposed(1, [1.0]), rewarded(1, "clicked")])
    batch = [exposed(2, [1.0, 2.0], feature_hash="h2"), rewarded(2, "expired")]
    _, outputs = on_messages(state, waiting, batch)
    assert (told(outputs).examples, told(outputs).positives) == (1, 0)


def test_it_decides_nothing_however_well_it_predicts() -> None:
    """Only the nightly gate puts a model in force: nothing the challenger tells steers a stream."""

    def run(*, challenged: bool) -> tuple[list[dict[str, Any]], Harness]:
        stream = Harness([policy(caps=()), on_cart(attribution_window_ms=HOUR)])
        if not challenged:
            stream.unlabelled.put = lambda _key, _value: None  # type: ignore[method-assign]
        draw = random.Random(8)
        for step in range(150):
            at_ms = NOON_MS + step * 60_000
            user = f"u{step}"
            made = stream.send(consenting(user, at_ms), _cart(user, at_ms + 1))
            for each in made:
                if each["status"] == "send" and draw.random() < 0.8:
                    stream.outcome(
                        outcome_id=f"o{step}", user_id=user, kind="clicked", ts=at_ms + 5_000,
                        decision_id=each["decision_id"],
                    )  # fmt: skip
        return stream.outputs[topics.DECISIONS], stream

    def _cart(user: str, ts: int) -> Any:
        return event(user, "cart", ts, event_id=f"e-{user}")

    decided, stream = run(challenged=True)
    alone, without = run(challenged=False)
    shadows = [each for each in stream.outputs[topics.AUDIT] if each["kind"] == "shadow"]
    last = convert(shadows[-1], Shadow)
    assert last.challenger_log_loss < last.champion_log_loss
    assert without.challenger is None
    assert decided == alone
    assert {each["model_version"] for each in decided} == {"prior"}
    kinds = {each["kind"] for each in stream.outputs[topics.CONTROL]}
    assert kinds <= {"posterior", "mix", "challenger"}


def test_what_was_learned_by_a_day_s_end_is_published_once_the_next_has_a_label() -> None:
    def labelled(first: int, count: int, day: int) -> list[str]:
        batch = []
        for number in range(first, first + count):
            x = number % 3 - 1.0
            reward = Reward(f"d{number}", "u", "c", "sms", "clicked" if x > 0 else "expired", 0.0,
                            day * 24 * HOUR + number)  # fmt: skip
            batch += [exposed(number, [x]), _message(topics.REWARDS, encode(reward))]
        return batch

    waiting, state = Unlabelled(), None
    published: list[Challenger] = []
    for day in range(2, 8):
        for part in range(2):
            state, outputs = on_messages(
                state, waiting, labelled(100 * day + 20 * part, 20, day)
            )  # fmt: skip
            steering = [each for each in outputs if each.topic == topics.CONTROL]
            assert len(steering) == (day > 2 and part == 0)
            for output in steering:
                _, key, value = output
                published.append(json.decode(value, type=Challenger))
                assert key == "challenger/ctr"
    assert [len(each.days) for each in published] == [1, 2, 3, 3, 3]
    assert [each.days[-1].examples for each in published] == [40, 80, 120, 160, 200]
    last = published[-1].days[-1]
    assert last.until_ms == 6 * 24 * HOUR + 639
    assert len(last.golden.inputs) == 8
    for row, said in zip(last.golden.inputs, last.golden.outputs, strict=True):
        logit = last.bias + last.weights[0] * row[0]
        assert said == pytest.approx(1 / (1 + exp(-logit)), abs=1e-12)
