"""What a variant may change: policy, offer, least score, model; each decides for its own only."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from schemas import topics
from schemas.control import control_key
from schemas.decision import Offer
from schemas.experiment import Experiment, Variant
from schemas.model import Model, variant_model_id
from schemas.pricing import OfferLimits, Pricing
from scoring.experiments.assignment import variant_of
from scoring.features import FEATURES
from scoring.onnx_export import model_record
from tests.builders import on_cart, policy
from tests.harness import NOON_MS, Harness, consenting, event

USERS = [f"u{number}" for number in range(60)]


def model(version: str, seed: int, **fields: Any) -> Model:
    draw = random.Random(seed)
    weights = [draw.uniform(-0.3, 0.3) for _ in FEATURES]
    return replace(model_record(weights, -2.0, version), **{"updated_ms": 1, **fields})


def trial(**stated: Any) -> Experiment:
    return Experiment(
        "try", (Variant("plain", 0.4), Variant("other", 0.4, **stated)), campaigns=("on-cart",)
    )


def decided(stream: Harness, users: list[str] = USERS) -> dict[str, dict[str, Any]]:
    for user in users:
        stream.send(consenting(user), event(user, "cart", NOON_MS, price=50.0))
    return {each["user_id"]: each for each in stream.outputs[topics.DECISIONS]}


def test_each_customer_is_scored_by_their_variants_model() -> None:
    champion, named = model("ctr-1", 1), model("ctr-2", 2, id=variant_model_id("ctr-2"))
    made = trial(model="ctr-2")
    found = decided(Harness([policy(), on_cart(), champion, named, made]))
    for user, decision in found.items():
        variant = variant_of(made, user)
        assert decision["model_version"] == ("ctr-2" if variant == "other" else "ctr-1")
        assert decision["degraded"] == []
    alone = decided(Harness([policy(), on_cart(), replace(named, id="ctr")]))
    others = [user for user in USERS if variant_of(made, user) == "other"]
    assert 10 < len(others) < 40
    assert all(found[user]["score"] == alone[user]["score"] for user in others)
    assert any(found[user]["score"] != alone[user]["score"] for user in set(USERS) - set(others))


def test_a_model_that_is_not_there_yet_is_told_and_the_champion_scores() -> None:
    stream = Harness([policy(), on_cart(), model("ctr-1", 1), trial(model="ctr-2")])
    found = decided(stream)
    for user, decision in found.items():
        lacks = variant_of(trial(), user) == "other"
        assert decision["model_version"] == "ctr-1"
        assert decision["degraded"] == (["no_variant_model"] if lacks else [])
    named = model("ctr-2", 2, id=variant_model_id("ctr-2"))
    stream.put(named)
    later = decided(stream, [f"later-{number}" for number in range(30)])
    assert "ctr-2" in {each["model_version"] for each in later.values()}
    stream.decider.on_control(control_key(named), None)
    gone = decided(stream, [f"gone-{number}" for number in range(30)])
    gone = {user: each for user, each in gone.items() if user.startswith("gone")}
    assert {each["model_version"] for each in gone.values()} == {"ctr-1"}


def test_the_champion_is_not_moved_by_a_variants_model() -> None:
    stream = Harness([policy(), on_cart(), model("ctr-1", 1)])
    stream.put(model("ctr-2", 2, id=variant_model_id("ctr-2"), updated_ms=9))
    assert stream.decider.world.models.champion.version == "ctr-1"


def test_a_variants_offer_is_made_even_where_the_campaign_chooses() -> None:
    choosing = on_cart(
        pricing=Pricing(choices=(OfferLimits("percent", 0.05, 0.2, 0.05),), margin_ratio=0.5)
    )
    made = trial(offer=Offer("coupon", 0.1, 3))
    found = decided(Harness([policy(), choosing, made]))
    for user, decision in found.items():
        if variant_of(made, user) == "other":
            assert decision["offer"] == {
                "type": "coupon", "discount_ratio": 0.1, "valid_days": 3,
            }  # fmt: skip
        else:
            assert decision["offer"]["type"] == "percent"


@pytest.mark.parametrize("policies", [("beta-thompson", "bayes-ucb")])
def test_two_policies_learn_apart_from_their_own_customers(policies: tuple[str, str]) -> None:
    from schemas.learning_rules import Learning

    made = Experiment(
        "try",
        tuple(Variant(name, 0.5, Learning(name)) for name in policies),
        campaigns=("on-cart",),
    )
    stream = Harness([policy(), on_cart(), made])
    found = decided(stream)
    for decision in found.values():
        stream.outcome(
            outcome_id=f"o-{decision['decision_id']}",
            user_id=decision["user_id"],
            kind="clicked",
            ts=NOON_MS + 5,
            decision_id=decision["decision_id"],
        )
    seen: dict[tuple[str, str], float] = {}
    for each in stream.outputs[topics.CONTROL]:
        if each["kind"] == "posterior":
            seen[each["variant"], each["channel"]] = each["won"][0]
    for name in policies:
        mine = [each for each in found.values() if each["variant"] == f"try/{name}"]
        assert mine
        clicks = sum(won for (variant, _), won in seen.items() if variant == f"try/{name}")
        assert clicks == len(mine)
    assert not [variant for variant, _ in seen if variant not in {f"try/{p}" for p in policies}]
