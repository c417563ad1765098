"""Two policies that learn, compared in a played market: apart, by the same rules, and soundly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from jobs.market.loop import Engine, Input, run
from jobs.market.market import Market
from schemas.control import Campaign, EventTrigger
from schemas.decision import Decision
from schemas.effect import ExperimentEffect
from schemas.experiment import Experiment, Variant
from schemas.learning import Example
from schemas.learning_rules import Learning
from scoring.effect.tally import Tally
from state.learned import Learned
from tests.builders import HOUR, policy

AT = 1_772_409_600_000
CAMPAIGN = Campaign(
    "on-view", 1, "On view", EventTrigger(("view", "cart")), ("sms", "push", "email"),
    cooldown_ms=0, attribution_window_ms=HOUR,
)  # fmt: skip


Played = tuple[ExperimentEffect, Learned, Counter[str]]


def played(*variants: Learning, seed: int = 3) -> Played:
    """An hour of a market under an experiment.

    What effects tell, what `learn` knows, and how many messages of each variant bounced.
    """
    bounced: Counter[str] = Counter()
    trial = Experiment(
        "which",
        tuple(
            Variant(f"{name}-{each.policy}", 1 / len(variants), each)
            for name, each in zip("abc", variants, strict=False)
        ),
        planned=1_000,
        campaigns=(CAMPAIGN.id,),
    )
    control = [policy(caps=()), CAMPAIGN, trial]
    engine, tally = Engine(control, keep_examples=True), Tally()
    for record in control:
        tally.on_control(record)
    market = Market(seed, 1_200)

    def decide(inputs: Sequence[Input]) -> list[Decision]:
        decisions = engine(inputs)
        for decision in decisions:
            tally.on_decision(decision, AT)
        for record in engine.kept:
            if isinstance(record, Example):
                tally.on_example(record, AT)
            else:
                tally.on_reward(record, AT)
                bounced[record.variant] += record.kind == "bounced"
        engine.kept.clear()
        return decisions

    run(market, decide, market.events(AT, AT + HOUR, 6_000))
    [found] = tally.take_trials()
    return found, Learned.decode(engine.learned[CAMPAIGN.id]), bounced


@pytest.fixture(scope="module")
def two() -> Played:
    return played(Learning("beta-thompson"), Learning("epsilon-greedy"))


def test_each_policy_learns_from_what_its_own_customers_did_and_from_nothing_else(
    two: Played,
) -> None:
    found, learned, bounced = two
    for variant in found.variants:
        name = f"which/{variant.name}"
        arms = [arm for key, arm in learned.arms.items() if key.endswith(f"|{name}")]
        seen = variant.counted.sends - bounced[name]
        assert seen > 300
        assert sum(arm.exposures for arm in arms) == pytest.approx(seen)
        assert sum(arm.rewards for arm in arms) == pytest.approx(variant.counted.clicked)
    assert all(key.partition("|")[2].startswith("which/") for key in learned.arms)


def test_every_click_of_a_variant_is_one_of_its_customers(
    two: Played,
) -> None:
    for variant in two[0].variants:
        assert variant.clicks * variant.customers == pytest.approx(variant.counted.clicked)
        assert 0 < variant.customers <= variant.counted.sends


def test_a_policy_compared_with_itself_shows_no_difference_and_sound_groups() -> None:
    found, *_ = played(Learning("beta-thompson"), Learning("beta-thompson"), seed=5)
    [lift] = [each for each in found.variants[1].lifts if each.metric == "clicks"]
    assert lift.low < 0 < lift.high
    assert found.sample_ratio_p > 0.01
