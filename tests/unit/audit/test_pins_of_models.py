"""Under which control records a decision can have been made, where several models are held."""

from __future__ import annotations

import pytest

from jobs.audit.pins import ControlLog, Entry
from schemas.control import Campaign, EventTrigger, control_key
from schemas.model import CANARY, Model, variant_model_id
from schemas.wire import encode
from tests.unit.models.made import artefact
from tests.unit.scoring.effect.test_tally import AT, decision

CAMPAIGN = Campaign("on-cart", 1, "On cart", EventTrigger(("cart",)), ("sms",))


def entry(version: str, of: str = "ctr") -> Entry:
    record = artefact(version).model
    record = Model(
        of, version, record.onnx, record.sha256, record.feature_hash, record.golden, updated_ms=1
    )
    return Entry(AT, control_key(record), encode(record))


def log(*entries: Entry) -> ControlLog:
    return ControlLog([Entry(AT, control_key(CAMPAIGN), encode(CAMPAIGN)), *entries])


def span(of: ControlLog, version: str) -> tuple[int, int]:
    return of.ruled(decision("d1", model_version=version, posterior_version=-1, policy_version=-1))


def test_a_champion_stays_in_force_beside_a_canary_and_a_variants_model() -> None:
    found = log(entry("one"), entry("two", CANARY), entry("three", variant_model_id("three")))
    assert span(found, "one") == (2, 4)
    assert span(found, "two") == (3, 4)
    assert span(found, "three") == (4, 4)
    assert span(found, "prior") == (1, 1)


def test_a_champion_ends_where_the_next_begins_and_a_canary_where_it_is_withdrawn() -> None:
    found = log(
        entry("one"), entry("two", CANARY), Entry(AT, f"model/{CANARY}", None), entry("three")
    )
    assert span(found, "one") == (2, 4)
    assert span(found, "two") == (3, 3)
    assert span(found, "three") == (5, 5)


@pytest.mark.parametrize("back", [entry("one"), entry("one", CANARY)])
def test_a_model_that_came_back_was_in_force_then_too(back: Entry) -> None:
    found = log(entry("one"), entry("two"), back)
    assert span(found, "one") == (2, 4)


def test_before_any_model_or_after_its_end_there_is_the_prior() -> None:
    assert span(log(), "prior") == (1, 1)
    assert span(log(entry("one"), Entry(AT, "model/ctr", None)), "prior") == (1, 3)


def test_a_model_that_was_never_seen_leaves_every_place() -> None:
    assert span(log(entry("one")), "other") == (1, 2)
