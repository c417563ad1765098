"""A market is played once, with learning and control changes, and decided again from its record."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from jobs.audit.rerun import digest
from jobs.market.loop import run as play
from jobs.market.market import Market
from schemas.experiment import Experiment, Variant
from schemas.model import CANARY, Model, variant_model_id
from scoring.features import FEATURES
from scoring.onnx_export import model_record
from tests.builders import abandonment, on_cart, policy, viewed_again
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
