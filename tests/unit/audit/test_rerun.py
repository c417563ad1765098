"""A market is played once, with learning and control changes, and decided again from its record."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from jobs.audit.recorded import Input
from jobs.audit.rerun import Rerun, digest
from jobs.market.loop import Input as MarketInput
from jobs.market.loop import run as play
from jobs.market.market import Market
from operators.shard import MemoryStore, shard_of
from schemas.experiment import Experiment, Variant
from schemas.model import CANARY, Model, variant_model_id
from schemas.topics import EVENTS, OUTCOMES
from schemas.wire import encode
from scoring.features import FEATURES
from scoring.onnx_export import model_record
from tests.builders import abandonment, on_cart, policy, viewed_again
from tests.harness import consenting, event
from tests.tape import AT, HOUR, Tape

SOON: dict[str, Any] = {"attribution_window_ms": 15 * 60_000}


@pytest.fixture(scope="module")
def tape() -> Tape:
    draw = random.Random(2)
    model = model_record([draw.uniform(-0.3, 0.3) for _ in FEATURES], -2.5, "ctr-1", updated_ms=5)
    found = Tape(
        [policy(holdout_ratio=0.1), on_cart(**SOON), viewed_again(**SOON), abandonment(**SOON)]
    )
    found.changes = [
        (AT + HOUR // 2, model),
        (AT + HOUR, on_cart(status="paused", version=2, updated_ms=7, **SOON)),
        (AT + HOUR + HOUR // 4, on_cart(version=3, updated_ms=8, **SOON)),
    ]
    market = Market(3, 400)
    play(market, found, market.events(AT, AT + 2 * HOUR, 6_000))
    return found


def test_what_was_decided_is_decided_again_to_the_byte(tape: Tape) -> None:
    assert len({made.decision.model_version for made in tape.made}) == 2
    assert len({made.decision.campaign_version for made in tape.made}) == 3 - 1
    assert max(made.decision.posterior_version for made in tape.made) > 20
    found = tape.again()
    assert found.decisions == len(tape.made) > 300
    assert (found.differing, found.missing, found.added) == ({}, [], [])
    assert found.equal == found.decisions
    assert found.digest_equal
    assert found.digest_recorded == digest(made.decision for made in tape.made)


def test_a_span_of_it_is_compared_alone(tape: Tape) -> None:
    found = tape.again(AT + HOUR)
    assert 0 < found.decisions < len(tape.made)
    assert found.digest_equal


def test_a_decision_that_was_tampered_with_is_found(tape: Tape) -> None:
    victim = tape.made[50]
    forged = victim._replace(decision=replace(victim.decision, score=victim.decision.score + 1e-9))
    made = [forged if each is victim else each for each in tape.made]
    found = tape.again(made=made)
    assert not found.digest_equal
    assert found.differing == {victim.decision.decision_id: ["score"]}


def test_another_campaign_set_gives_another_digest(tape: Tape) -> None:
    log = [entry for entry in tape.log if entry.key != "campaign/viewed-again"]
    found = tape.again(log=log)
    assert not found.digest_equal
    assert found.missing


def test_models_of_a_canary_and_of_a_variant_decide_again_what_they_decided() -> None:
    draw = random.Random(4)

    def model(version: str, of: str = "ctr", share: float = 1.0) -> Model:
        weights = [draw.uniform(-0.3, 0.3) for _ in FEATURES]
        made = model_record(weights, -2.5, version, updated_ms=5)
        return replace(made, id=of, share=share)

    variants = (Variant("plain", 0.4), Variant("named", 0.4, model="ctr-3"))
    trial = Experiment("which", variants, campaigns=("on-cart",))
    found = Tape(
        [
            policy(holdout_ratio=0.1), on_cart(**SOON), viewed_again(**SOON), trial,
            model("ctr-1"), model("ctr-3", variant_model_id("ctr-3")),
        ]
    )  # fmt: skip
    found.changes = [
        (AT + HOUR // 4, model("ctr-2", CANARY, 0.5)),
        (AT + HOUR // 2, replace(model("ctr-4"), updated_ms=9)),
    ]
    market = Market(5, 300)
    play(market, found, market.events(AT, AT + HOUR, 4_000))
    versions = {made.decision.model_version for made in found.made}
    assert versions == {"ctr-1", "ctr-2", "ctr-3", "ctr-4"}
    decided = found.again()
    assert (decided.differing, decided.missing, decided.added) == ({}, [], [])
    assert decided.digest_equal


ANN = shard_of("ann", 4)


def noted(tape: Tape, payload: dict[str, Any], topic: str = EVENTS) -> Input:
    """An input of Ann's, on its topic and not yet taken."""
    tape.note(MarketInput(payload["ts"], topic, "ann", encode(payload)))
    return tape.inputs[-1]


def crash(tape: Tape, saved: MemoryStore) -> None:
    """Go back to a checkpoint of Ann's shard."""
    tape.stores[ANN] = MemoryStore(saved)
    tape.decider.forget(ANN)


def is_same(found: Rerun) -> bool:
    told = (found.differing, found.missing, found.added, found.lost)
    return told == ({}, [], [], 0) and found.digest_equal


def test_what_only_the_ticks_of_the_clock_led_to_is_decided_again() -> None:
    tape = Tape([policy(), abandonment()])
    for payload in (consenting("ann", AT - 2), event("ann", "cart", AT - 1, item_id="shoe")):
        tape.take([noted(tape, payload)])
    assert tape.tick(ANN, AT + HOUR)
    assert is_same(tape.again())
    silent = [step for step in tape.steps if not step.told.ticks]
    found = tape.again(steps=silent)
    assert len(found.missing) == 1


def test_of_a_decision_that_died_unpublished_in_a_crash_nothing_is_expected() -> None:
    tape = Tape([policy(), on_cart()])
    tape.take([noted(tape, consenting("ann", AT))])
    saved = MemoryStore(tape.stores[ANN])
    cart = noted(tape, event("ann", "cart", AT + 1_000))
    unsubscribed = {"outcome_id": "o", "user_id": "ann", "kind": "unsubscribed", "ts": AT + 1_000}
    gone = noted(tape, unsubscribed | {"channel": "sms"}, OUTCOMES)
    assert tape.take([cart])
    del tape.made[-1]
    crash(tape, saved)
    refused = event("ann", "login", AT + 999, consent={"marketing": False})
    tape.take([noted(tape, refused)])
    tape.take([gone])
    assert tape.take([cart]) == []
    assert is_same(tape.again())


def test_a_decision_that_was_published_before_a_crash_was_made_of_what_came_before_it() -> None:
    tape = Tape([policy(), on_cart()])
    tape.take([noted(tape, consenting("ann", AT))])
    saved = MemoryStore(tape.stores[ANN])
    cart = noted(tape, event("ann", "cart", AT + 1_000))
    assert tape.take([cart])
    crash(tape, saved)
    tape.take([noted(tape, event("ann", "login", AT + 999, consent={"marketing": False}))])
    assert tape.take([cart]) == []
    assert is_same(tape.again())
    assert tape.again(steps=[tape.steps[0], *tape.steps[2:]]).missing


@pytest.mark.parametrize("caught_up", [False, True])
def test_an_outcome_that_waited_for_its_place_waits_again(caught_up: bool) -> None:
    """It is given with one micro-batch, and taken before an event of a later one or at a tick."""
    tape = Tape([policy(), on_cart()])
    tape.take([noted(tape, consenting("ann", AT))])
    tape.decider._unread = lambda _saved_ms: []  # as after a crash
    crash(tape, MemoryStore(tape.stores[ANN]))
    complained = {"outcome_id": "o", "user_id": "ann", "kind": "complained", "ts": AT + 500}
    tape.take([noted(tape, complained, OUTCOMES)])
    assert (tape.steps[-1].told.rows, tape.steps[-1].told.given) == ([], [(1, 0, 1)])
    if caught_up:
        tape.tick(ANN, AT + HOUR)
        tape.tick(ANN, AT + 2 * HOUR)
    assert tape.take([noted(tape, event("ann", "cart", AT + 1_000))]) == []
    assert sum(len(step.told.rows) for step in tape.steps) == 3
    assert is_same(tape.again())


def test_a_step_that_was_not_told_and_an_input_that_is_gone_are_counted() -> None:
    tape = Tape([policy(), on_cart()])
    taken = [noted(tape, consenting("ann", AT)), noted(tape, event("ann", "cart", AT + 1_000))]
    for each in taken:
        tape.take([each])
    assert is_same(tape.again())
    assert tape.again(steps=tape.steps[1:]).lost == 1
    del tape.inputs[0]
    found = tape.again()
    assert found.lost == 1
    assert found.missing
