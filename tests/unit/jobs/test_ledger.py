import json
import random
from typing import get_args

import pytest
import typer

from jobs import ledger as module
from jobs.ledger import Book, Ledger
from schemas.audit import AuditRecord, Candidate, Outcomes
from schemas.control import AbsenceTrigger, Campaign
from schemas.topics import AUDIT, CONTROL, DEAD_LETTERS, DECISIONS, EVENTS, INPUTS, OUTCOMES
from schemas.wire import encode
from tests.harness import NOON_MS, Harness

PLACE = (EVENTS, 0)


def rows(*found, topics=INPUTS):
    return encode(Outcomes("00", list(topics), list(found)))


def letter(offset, topic=EVENTS, partition=0):
    return json.dumps({"topic": topic, "partition": partition, "offset": offset}).encode()


def decision(name, status="send", score=0.5):
    return json.dumps({"decision_id": name, "status": status, "score": score}).encode()


def balanced_book(low=0):
    book = Book({PLACE: (low, low + 3), (OUTCOMES, 1): (0, 1)})
    book.audit(rows((0, 0, low, "updated", ""), (0, 0, low + 1, "suppressed", "consent")))
    book.audit(rows((0, 0, low + 2, "dead", "broken_json"), (1, 1, 0, "unmatched", "")))
    book.dead_letter(letter(low + 2))
    return book


@pytest.mark.parametrize("low", [0, 7_000_000_000])
def test_a_ledger_balances_when_every_input_has_an_end(low):
    ledger = balanced_book(low).close()
    assert ledger.balanced, ledger.faults
    assert ledger.inputs == sum(ledger.outcomes.values()) == 4
    assert ledger.outcomes["dead"] == ledger.dead_letters == 1
    assert ledger.reasons == {"suppressed": {"consent": 1}, "dead": {"broken_json": 1}}


def test_an_empty_stream_balances():
    assert Book({PLACE: (0, 0)}).close().balanced


def test_an_input_without_an_end_is_missing_and_named():
    book = Book({PLACE: (5, 30)})
    book.audit(rows((0, 0, 6, "updated", "")))
    ledger = book.close()
    assert not ledger.balanced
    assert (ledger.inputs, ledger.missing) == (25, 24)
    assert ledger.missing_first[:2] == [(EVENTS, 0, 5), (EVENTS, 0, 7)]
    assert len(ledger.missing_first) == 20


def test_an_offset_that_holds_no_record_is_no_input():
    book = Book({PLACE: (5, 9)})
    book.audit(rows((0, 0, 5, "updated", "")))
    assert book.open_since() == {PLACE: 6}
    book.leave_out_gaps([(PLACE, 8), (PLACE, 40)])
    ledger = book.close()
    assert (ledger.inputs, ledger.missing_first) == (2, [(EVENTS, 0, 8)])


def test_a_row_read_twice_is_repeated_and_counted_once():
    book = balanced_book()
    book.audit(rows((0, 0, 0, "updated", "")))
    ledger = book.close()
    assert ledger.balanced
    assert (ledger.repeated, ledger.revised, ledger.outcomes["updated"]) == (1, 0, 1)


def test_a_row_that_says_otherwise_is_revised_and_the_newer_holds():
    book = balanced_book()
    book.audit(rows((0, 0, 0, "decided", "")))
    ledger = book.close()
    assert ledger.balanced
    assert (ledger.revised, ledger.outcomes["updated"], ledger.outcomes["decided"]) == (1, 0, 1)


def test_topics_are_read_by_the_audit_records_own_list():
    book = Book({PLACE: (0, 1)})
    book.audit(rows((1, 0, 0, "updated", ""), topics=("other", EVENTS)))
    assert book.close().balanced


def test_rows_of_inputs_that_are_gone_or_newer_than_the_reading_are_left_out():
    book = balanced_book(low=10)
    book.audit(rows((0, 0, 9, "dead", ""), (0, 0, 13, "dead", ""), (0, 5, 0, "dead", "")))
    book.dead_letter(letter(9))
    assert book.close() == balanced_book(low=10).close()


def test_a_dead_row_and_a_dead_letter_want_each_other():
    without_letter = balanced_book()
    without_letter.audit(rows((0, 0, 0, "dead", "oversized")))
    without_row = balanced_book()
    without_row.dead_letter(letter(1))
    assert without_letter.close().faults == ["1 dead inputs without a dead letter"]
    assert without_row.close().faults == ["1 dead letters of inputs that are not dead"]


def test_refused_control_records_are_counted_apart():
    book = balanced_book()
    book.dead_letter(letter(3, topic=CONTROL))
    ledger = book.close()
    assert ledger.balanced
    assert (ledger.control_refused, ledger.dead_letters) == (1, 1)


def test_a_decision_published_twice_is_a_repeat_and_with_two_contents_a_fault():
    book = balanced_book()
    for value in (decision("a"), decision("a"), decision("b", "holdout"), decision("c")):
        book.decision(value)
    decisions = book.close().decisions
    assert (decisions.sends, decisions.holdouts, decisions.repeats) == (2, 1, 1)
    book = balanced_book()
    book.decision(decision("a"))
    book.decision(decision("a", score=0.25))
    assert book.close().faults == ["1 decision ids with two different contents"]
    values = [decision("z"), decision("a"), b"{"]
    assert module._names_of(values, book.conflicts()) == ["a"]


@pytest.mark.parametrize("enter", [Book.audit, Book.dead_letter, Book.decision])
def test_what_cannot_be_read_is_a_fault(enter):
    book = balanced_book()
    for value in (b"", b"{", b"\xff", b"{}"):
        enter(book, value)
    assert book.close().faults == ["4 records that cannot be read"]


def test_audit_records_of_every_other_kind_are_passed_over():
    others = [kind for kind in get_args(AuditRecord) if kind is not Outcomes]
    assert Candidate in others
    book = balanced_book()
    for kind in others:
        book.audit(json.dumps({"kind": kind.__struct_config__.tag, "ts": 1}).encode())
    assert book.close().balanced


def test_the_ledger_of_the_stream_balances_and_one_lost_row_unbalances_it():
    trigger = AbsenceTrigger(("cart",), ("purchase",), 60_000)
    stream = Harness([Campaign("left", 1, "left", trigger, ("push",))])
    events = [
        {"event_id": f"e{n}", "user_id": f"u{n % 7}", "action": random.Random(n).choice(
            ("view", "cart", "Bad")), "ts": NOON_MS + n * 30_000,
         "consent": {"marketing": True, "push": True}}
        for n in range(300)
    ]  # fmt: skip
    stream.send(*events, *events[:20])

    def book_without(lost):
        book = Book({place: (0, end) for place, end in stream._offsets.items()})
        for number, audit in enumerate(stream.outputs[AUDIT]):
            if number != lost:
                book.audit(json.dumps(audit).encode())
        for each in stream.outputs[DEAD_LETTERS]:
            book.dead_letter(json.dumps(each).encode())
        for each in stream.outputs[DECISIONS]:
            book.decision(json.dumps(each).encode())
        return book.close()

    whole = book_without(lost=None)
    assert whole.balanced, whole.faults
    assert whole.outcomes["dead"] > 0
    assert whole.outcomes["duplicate"] > 0
    assert whole.decisions.sends > 0
    first_rows = next(i for i, audit in enumerate(stream.outputs[AUDIT]) if "rows" in audit)
    assert book_without(lost=first_rows).missing > 0


def command(monkeypatch, capsys, *ledgers, **options):
    left = list(ledgers)
    monkeypatch.setattr(module, "_PAUSE_S", 0)
    monkeypatch.setattr(module, "read_ledger", lambda _: left.pop(0) if left[1:] else left[0])
    code = 0
    try:
        module.ledger(**options)
    except typer.Exit as stopped:
        code = stopped.exit_code
    return code, capsys.readouterr().out


def test_the_command_fails_when_it_does_not_balance(monkeypatch, capsys):
    short = Ledger(inputs=2, outcomes={"updated": 1}, reasons={}, missing=1)
    code, out = command(monkeypatch, capsys, short)
    assert code == 1
    assert out.splitlines()[-1] == "DOES NOT BALANCE: 1 inputs without an outcome"


def test_the_command_prints_one_json_object(monkeypatch, capsys):
    code, out = command(monkeypatch, capsys, balanced_book().close(), as_json=True)
    found = json.loads(out)
    assert code == 0
    assert (found["balanced"], found["inputs"], found["outcomes"]["updated"]) == (True, 4, 1)


def test_wait_reads_again_until_it_balances(monkeypatch, capsys):
    short = Ledger(inputs=2, outcomes={"updated": 1}, reasons={}, missing=1)
    found = (short, short, balanced_book().close())
    assert command(monkeypatch, capsys, *found, wait=60.0)[0] == 0
