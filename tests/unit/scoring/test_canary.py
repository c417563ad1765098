"""A model on trial beside the one in force: who is scored by which, and what a decision says."""

import pytest

from schemas.errors import RefusedControl
from schemas.model import CANARY
from schemas.topics import DECISIONS, EXAMPLES
from scoring.features import FEATURES
from scoring.model import verify
from scoring.models_in_force import HOT_MODELS
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
    versions = [found.models.of(user).version for user in USERS]
    assert versions.count("new") / len(USERS) == pytest.approx(share, abs=0.06)
    assert versions == [found.models.of(user).version for user in USERS]


def test_a_larger_share_takes_nobody_back():
    small = world(model("old", -1.0), model("new", -2.0, CANARY, 0.1))
    large = world(model("old", -1.0), model("new", -2.0, CANARY, 0.3))
    chosen = {user for user in USERS if small.models.of(user).version == "new"}
    assert chosen <= {user for user in USERS if large.models.of(user).version == "new"}


def test_a_withdrawn_canary_leaves_the_model_in_force():
    found = world(model("old", -1.0), model("new", -2.0, CANARY, 1.0))
    found.accept(f"model/{CANARY}", None)
    assert {found.models.of(user).version for user in USERS} == {"old"}


def test_each_decision_names_the_version_that_scored_it_and_no_mixture():
    stream = Harness([policy(), on_cart(), model("old", -1.0), model("new", -2.0, CANARY, 0.5)])
    for user in USERS[:60]:
        stream.send(consenting(user_id=user))
    decisions = stream.send(*(event(action="cart", user_id=user) for user in USERS[:60]))
    scores = {(d["model_version"], round(d["score"], 6)) for d in decisions}
    assert scores == {("old", 0.268941), ("new", 0.119203)}
    expected = {user: stream.decider.world.models.of(user).version for user in USERS[:60]}
    assert all(d["model_version"] == expected[d["user_id"]] for d in decisions)


def test_a_refused_canary_changes_nothing():
    stream = Harness([policy(), on_cart(), model("old", -1.0)])
    [(key, value)] = control(model("new", -2.0, CANARY, 1.0))
    assert stream.decider.on_control(key, value.replace(b'"sha256":"', b'"sha256":"0'))
    assert stream.decider.world.models.canary is None


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_both_models_score_each_row_and_one_of_them_decides(share):
    stream = Harness([policy(), on_cart(), model("old", -1.0), model("new", -2.0, CANARY, share)])
    for user in USERS[:40]:
        stream.send(consenting(user_id=user))
    stream.send(*(event(action="cart", user_id=user) for user in USERS[:40]))
    examples = stream.outputs[EXAMPLES]
    assert len(examples) == 40
    scores = {"old": 0.268941, "new": 0.119203}
    for row in examples:
        other = "new" if row["model_version"] == "old" else "old"
        assert row["shadow_version"] == other
        assert row["score"] == pytest.approx(scores[row["model_version"]], abs=1e-6)
        assert row["shadow_score"] == pytest.approx(scores[other], abs=1e-6)
    decided = {row["model_version"] for row in stream.outputs[DECISIONS]}
    assert decided == ({"old", "new"} if share else {"old"})


def test_decisions_are_the_same_with_a_model_in_shadow_and_without():
    carts = [event(action="cart", user_id=user) for user in USERS[:40]]

    def decisions(*models):
        stream = Harness([policy(), on_cart(), *models])
        stream.send(*(consenting(user_id=user) for user in USERS[:40]))
        return stream.send(*carts)

    alone = decisions(model("old", -1.0))
    assert decisions(model("old", -1.0), model("new", -2.0, CANARY, 0.0)) == alone


def test_without_another_model_there_is_no_shadow():
    assert world(model("old", -1.0)).models.shadow_of("old") is None
    again = world(model("old", -1.0), model("old", -1.0, CANARY, 0.0))
    assert again.models.shadow_of("old") is None


def test_the_latest_models_stay_proved_and_a_changed_one_is_proved_anew(monkeypatch):
    proofs = []

    def counted(record):
        proofs.append(record.version)
        return verify(record)

    monkeypatch.setattr("scoring.models_in_force.verify", counted)
    found = world(model("v1", -1.0, updated_ms=1), model("v2", -2.0, updated_ms=2))
    before = found.models.champion
    for key, value in control(model("v1", -1.0, updated_ms=3), model("v2", -2.0, CANARY, 0.2)):
        found.accept(key, value)
    assert (proofs, found.models.champion.version) == (["v1", "v2"], "v1")
    assert found.models.canary is before
    [(key, value)] = control(model("v1", -1.0, updated_ms=4))
    with pytest.raises(RefusedControl):
        found.accept(key, value.replace(b'"sha256":"', b'"sha256":"0'))
    for n in range(HOT_MODELS):
        [(key, value)] = control(model(f"n{n}", -1.0, updated_ms=5 + n))
        found.accept(key, value)
    [(key, value)] = control(model("v1", -1.0, updated_ms=99))
    found.accept(key, value)
    assert proofs.count("v1") == 2
