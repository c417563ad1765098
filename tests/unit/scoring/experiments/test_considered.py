"""Who takes part in an experiment is told of every customer, spoken to or not."""

from __future__ import annotations

from schemas import topics
from schemas.experiment import Experiment, Variant
from scoring.experiments.assignment import variant_of
from tests.builders import on_cart, policy, viewed_again
from tests.harness import NOON_MS, Harness, consenting, event

TRIAL = Experiment(
    "picky", (Variant("all", 0.5), Variant("few", 0.5, min_score=0.99)), campaigns=("on-cart",)
)
USERS = [f"u{number}" for number in range(200)]


def played(*control: object, users: list[str] = USERS) -> Harness:
    stream = Harness([policy(caps=()), *control])  # type: ignore[list-item]
    for user in users:
        stream.send(consenting(user), event(user, "purchase", NOON_MS - 500, price=20.0))
        stream.send(event(user, "cart", NOON_MS))
    return stream


def told(stream: Harness) -> dict[str, str]:
    """Customer → variant, of those whom examples and audits say to take part."""
    found = {
        each["user_id"]: each["variant"]
        for each in stream.outputs[topics.EXAMPLES]
        if each["variant"] and not each["holdout"]
    }
    audited = [
        each
        for each in stream.outputs[topics.AUDIT]
        if each["kind"] == "candidate" and each["considered"] and each["variant"]
    ]
    assert not found.keys() & {each["user_id"] for each in audited}
    return found | {each["user_id"]: each["variant"] for each in audited}


def test_every_customer_takes_part_although_one_variant_speaks_to_nobody() -> None:
    stream = played(on_cart(), TRIAL)
    assert {each["variant"] for each in stream.outputs[topics.DECISIONS]} == {"picky/all"}
    assert told(stream) == {user: f"picky/{variant_of(TRIAL, user)}" for user in USERS}


def test_what_was_before_is_told_alike_of_both() -> None:
    stream = played(on_cart(), TRIAL)
    [audit, *others] = [
        each
        for each in stream.outputs[topics.AUDIT]
        if each["kind"] == "candidate" and each["considered"]
    ]
    assert all(each["before"] == audit["before"] for each in others)
    _, orders, money = audit["before"]
    assert orders > 0
    assert money > orders


def test_who_loses_to_another_campaign_takes_part_and_who_is_capped_does_not() -> None:
    rival = viewed_again(id="a-rival", trigger=on_cart().trigger, channels=("push",), cooldown_ms=0)
    lost = played(on_cart(channels=("sms",)), rival, TRIAL)
    losers = {
        each["user_id"]
        for each in lost.outputs[topics.AUDIT]
        if each["kind"] == "candidate" and each["reason"] == "lost_arbitration"
    }
    assert losers
    assert set(told(lost)) == set(USERS)
    capped = Harness([policy(cap_sends=0), on_cart(), TRIAL])
    capped.send(consenting(), event(action="cart"))
    assert told(capped) == {}


def test_held_out_customers_take_no_part() -> None:
    trial = Experiment("half", (Variant("a", 0.5), Variant("b", 0.5)), campaigns=("on-cart",))
    stream = Harness([policy(caps=(), holdout_ratio=0.5), on_cart(), trial])
    for user in USERS:
        stream.send(consenting(user), event(user, "cart", NOON_MS))
    held = {
        each["user_id"] for each in stream.outputs[topics.DECISIONS] if each["status"] == "holdout"
    }
    assert 60 < len(held) < 140
    assert set(told(stream)) == set(USERS) - held


def test_without_an_experiment_no_more_is_audited_than_a_sample() -> None:
    stream = played(on_cart(min_score=0.99))
    audited = {
        each["user_id"] for each in stream.outputs[topics.AUDIT] if each["kind"] == "candidate"
    }
    assert len(audited) < len(USERS) / 6
