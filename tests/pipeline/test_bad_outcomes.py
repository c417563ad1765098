"""Each outcome that cannot be right has one end in the ledger, and teaches and pays nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import msgspec
import pytest

from jobs.ledger import Book
from schemas import topics
from schemas.decision import Decision
from schemas.errors import InvalidRecord
from schemas.learning import Reward
from schemas.outcome import Outcome
from schemas.wire import decode_outcome, encode
from scoring.effect.tally import Tally
from tests.builders import HOUR, MINUTE, on_cart, policy
from tests.harness import NOON_MS, Harness, consenting, event


class Bad(NamedTuple):
    """What is wrong with an answer to ann's message, and the end that it comes to."""

    name: str
    wrong: dict[str, Any]
    end: tuple[str, str]


BAD = (
    Bad("of an unknown decision", {"decision_id": "d-none"}, ("unmatched", "unknown_decision")),
    Bad("before its decision", {"ts": NOON_MS - 10 * MINUTE}, ("unmatched", "before_decision")),
    Bad("after the window", {"ts": NOON_MS + HOUR + 1}, ("unmatched", "after_window")),
    Bad("of another customer", {"user_id": "bob"}, ("unmatched", "unknown_decision")),
    Bad("with a negative value", {"value": -1.0}, ("dead", "wrong_type")),
    Bad("from the future", {"ts": NOON_MS + 900 * HOUR}, ("dead", "future_timestamp")),
)
KINDS = ("delivered", "clicked", "bounced")


def answered(stream: Harness) -> dict[str, Any]:
    """One message to ann, and a right answer to it."""
    [decision] = stream.send(consenting(), event(action="cart"))
    return {
        "outcome_id": "o1", "user_id": "ann", "kind": "clicked", "ts": NOON_MS + 5,
        "decision_id": decision["decision_id"],
    }  # fmt: skip


def fresh() -> Harness:
    return Harness([policy(), on_cart(attribution_window_ms=HOUR)])


def posteriors(stream: Harness) -> list[Any]:
    return [each for each in stream.outputs[topics.CONTROL] if each["kind"] == "posterior"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_a_wrong_answer_has_its_end_and_moves_no_posterior(bad: Bad, kind: str) -> None:
    stream = fresh()
    answer = answered(stream) | {"kind": kind} | bad.wrong
    before, ends = len(posteriors(stream)), len(stream.ends())
    ingested_ms = NOON_MS + 5 if bad.end[0] == "dead" else None
    stream.send(answer, topic=topics.OUTCOMES, ingested_ms=ingested_ms)
    [found] = stream.ends()[ends:]
    assert found[3:] == bad.end
    assert stream.outputs[topics.REWARDS] == []
    assert len(posteriors(stream)) == before
    assert len(stream.outputs[topics.DEAD_LETTERS]) == (bad.end[0] == "dead")
    name = stream.outputs[topics.DECISIONS][0]["decision_id"]
    right = {"outcome_id": "right", "user_id": "ann", "kind": "clicked", "ts": NOON_MS + 9}
    stream.outcome(**right, decision_id=name)
    assert stream.ends()[-1][3:] == ("updated", "")
    assert [each["kind"] for each in stream.outputs[topics.REWARDS]] == ["clicked"]


def test_an_answer_that_comes_twice_counts_once() -> None:
    stream = fresh()
    answer = answered(stream)
    for _ in range(3):
        stream.outcome(**answer)
    assert [end[3:] for end in stream.ends()[-3:]] == [("updated", ""), *[("duplicate", "")] * 2]
    assert [each["kind"] for each in stream.outputs[topics.REWARDS]] == ["clicked"]
    assert posteriors(stream)[-1]["won"] == [1.0]


def test_the_ledger_counts_each_wrong_answer_by_its_reason_and_balances() -> None:
    stream = fresh()
    answer = answered(stream)
    for number, bad in enumerate(BAD):
        wrong = answer | {"outcome_id": f"bad-{number}"} | bad.wrong
        stream.send(wrong, topic=topics.OUTCOMES, ingested_ms=NOON_MS + HOUR + 1)
    stream.outcome(**answer)
    stream.outcome(**answer)
    ends = stream.ends()
    book = Book({place: (0, many) for place, many in Counter(end[:2] for end in ends).items()})
    for audit in stream.outputs[topics.AUDIT]:
        book.audit(encode(audit))
    for letter in stream.outputs[topics.DEAD_LETTERS]:
        book.dead_letter(encode(letter))
    ledger = book.close()
    assert ledger.balanced, ledger.faults
    assert ledger.reasons["unmatched"] == {
        "unknown_decision": 2, "before_decision": 1, "after_window": 1
    }  # fmt: skip
    assert ledger.reasons["dead"] == {"wrong_type": 1, "future_timestamp": 1}
    assert (ledger.outcomes["unmatched"], ledger.outcomes["dead"]) == (4, 2)
    assert ledger.outcomes["duplicate"] == 1
    assert any("before_decision 1" in line for line in ledger.lines())


def test_an_answer_that_is_read_before_its_message_was_decided_is_unmatched() -> None:
    stream = fresh()
    probe = fresh()
    answer = answered(probe)
    stream.outcome(**answer)
    assert stream.ends()[-1][3:] == ("unmatched", "unknown_decision")
    assert stream.outputs[topics.REWARDS] == []


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"decision_id": "d-none"}, "unknown_decision"),
        ({"ts": NOON_MS - 10 * MINUTE}, "before_decision"),
        ({"ts": NOON_MS + HOUR + 1}, "after_window"),
        ({"user_id": "bob"}, "unknown_decision"),
    ],
)
def test_an_order_that_names_a_wrong_decision_is_an_order_all_the_same_and_credited_to_nobody(
    wrong: dict[str, Any], reason: str
) -> None:
    stream = fresh()
    answer = answered(stream) | {"kind": "converted", "value": 20.0, "order_id": "a"} | wrong
    stream.outcome(**answer)
    assert stream.ends()[-1][3:] == ("unmatched", reason)
    credited = [each for each in stream.outputs[topics.REWARDS] if each["share"]]
    in_window = answer["user_id"] == "ann" and NOON_MS <= answer["ts"] <= NOON_MS + HOUR
    assert [(each["decision_id"] == "", each["value"]) for each in credited] == [
        (not in_window, 20.0)
    ]


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_the_figures_of_a_campaign_count_no_wrong_answer(bad: Bad) -> None:
    stream, tally = fresh(), Tally()
    answer = answered(stream) | {"kind": "delivered"} | bad.wrong
    stream.send(answer, topic=topics.OUTCOMES, ingested_ms=NOON_MS + 5)
    tally.on_control(on_cart())
    for decision in stream.outputs[topics.DECISIONS]:
        tally.on_decision(msgspec.convert(decision, Decision), NOON_MS)
    for reward in stream.outputs[topics.REWARDS]:
        tally.on_reward(msgspec.convert(reward, Reward), NOON_MS)
    try:
        outcome: Outcome = decode_outcome(encode(answer))
    except InvalidRecord:
        assert bad.end[0] == "dead"
    else:
        tally.on_outcome(outcome, int(outcome.ts), NOON_MS + 5)
    whole = tally.whole("on-cart")
    assert (whole.sends, whole.clicked, whole.revenue) == (1, 0, 0.0)
