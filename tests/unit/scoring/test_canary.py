"""A model on trial beside the one in force: who is scored by which, and what a decision says."""

import pytest

from schemas.control import CANARY
from scoring.features import FEATURES
from scoring.onnx_export import model_record
from scoring.world import World
from tests.builders import on_cart, policy
from tests.harness import Harness, consenting, control, event

USERS = [f"u{n}" for n in range(400)]


def model(version, bias, name="ctr", share=1.0, updated_ms=1):
    from msgspec.structs import replace

    made = model_record([0.0] * len(FEATURES), bias, version, name=name, updated_ms=updated_ms)
    return replace(made, share=share)


def world(*records):
    found = World()
    for key, value in control(*records):
        found.accept(key, value)
    return found


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_share_of_the_customers_is_scored_by_the_canary(share):
    found = world(model("old", -1.0), model("new", -2.0, CANARY, share))
    versions = [found.model_for(user).version for user in USERS]
    assert versions.count("new") / len(USERS) == pytest.approx(share, abs=0.06)
    assert versions == [found.model_for(user).version for user in USERS]


def test_a_larger_share_takes_nobody_back():
    small = world(model("old", -1.0), model("new", -2.0, CANARY, 0.1))
    large = world(model("old", -1.0), model("new", -2.0, CANARY, 0.3))
    chosen = {user for user in USERS if small.model_for(user).version == "new"}
    assert chosen <= {user for user in USERS if large.model_for(user).version == "new"}


def test_a_withdrawn_canary_leaves_the_model_in_force():
    found = world(model("old", -1.0), model("new", -2.0, CANARY, 1.0))
    found.accept(f"model/{CANARY}", None)
    assert {found.model_for(user).version for user in USERS} == {"old"}


def test_each_decision_names_the_version_that_scored_it_and_no_mixture():
    stream = Harness([policy(), on_cart(), model("old", -1.0), model("new", -2.0, CANARY, 0.5)])
    for user in USERS[:60]:
        stream.send(consenting(user_id=user))
    decisions = stream.send(*(event(action="cart", user_id=user) for user in USERS[:60]))
    scores = {(d["model_version"], round(d["score"], 6)) for d in decisions}
    assert scores == {("old", 0.268941), ("new", 0.119203)}
    expected = {user: stream.decider.world.model_for(user).version for user in USERS[:60]}
    assert all(d["model_version"] == expected[d["user_id"]] for d in decisions)


def test_a_refused_canary_changes_nothing():
    stream = Harness([policy(), on_cart(), model("old", -1.0)])
    [(key, value)] = control(model("new", -2.0, CANARY, 1.0))
    assert stream.decider.on_control(key, value.replace(b'"sha256":"', b'"sha256":"0'))
    assert stream.decider.world.canary is None
