"""Every kind of bad input comes to the end that is promised for it, through the JVM-free stream."""

from __future__ import annotations

import json
import time

import pytest

from benchmarks.bad_input import BadControl, BadInput, bad_control, bad_inputs
from schemas.deadletter import REASONS
from tests.harness import Harness

BAD = {bad.name: bad for bad in bad_inputs("bad")}


@pytest.mark.parametrize("bad", [pytest.param(bad, id=bad.name) for bad in BAD.values()])
def test_a_bad_input_ends_as_promised_and_disturbs_nobody(bad: BadInput) -> None:
    harness = Harness()
    now_ms = int(time.time() * 1_000)
    harness.send(BAD["a valid event"].value or b"", ingested_ms=now_ms)
    before = harness.profile("bad").dimensions(now_ms)

    # The stream reads a record without a value as one that is empty.
    harness.send(bad.value or b"", topic=bad.topic, ingested_ms=now_ms)

    [_, end] = harness.ends()
    wanted = ("duplicate", "") if bad.name == "a valid event" else (bad.end, bad.reason)
    assert end[3:] == wanted
    if bad.end in ("dead", "duplicate"):
        assert harness.profile("bad").dimensions(now_ms) == before


@pytest.mark.parametrize("bad", [pytest.param(bad, id=bad.name) for bad in bad_control()])
def test_a_bad_control_record_is_a_dead_letter_and_changes_nothing(bad: BadControl) -> None:
    harness = Harness()
    model, policy = harness.decider.world.models.champion, harness.decider.world.policy

    [letter] = harness.decider.on_control(bad.key, bad.value)

    assert json.loads(letter.value)["reason"] == bad.reason
    world = harness.decider.world
    assert (world.models.champion, world.policy, world.campaigns) == (model, policy, {})


def test_there_is_a_bad_input_for_every_reason() -> None:
    reasons = {bad.reason for bad in BAD.values() if bad.end == "dead"} | {
        bad.reason for bad in bad_control()
    }
    assert reasons == set(REASONS)
