"""The thousand campaigns that the cost of many is measured with."""

from __future__ import annotations

from benchmarks.many_campaigns import FEW, measure, population
from schemas.control import Campaign
from scoring.campaigns import CAMPAIGN_KINDS
from tests.harness import Harness


def test_a_thousand_campaigns_are_all_accepted_and_share_what_they_watch_for() -> None:
    records = population(1_000)
    campaigns = [record for record in records if isinstance(record, Campaign)]
    decider = Harness(records).decider
    assert decider.counters["control_refused"] == 0
    assert len(campaigns) == len(decider.world.campaigns) == 1_000
    assert len(decider.world.index.watches) < 700
    assert len({type(campaign.trigger) for campaign in campaigns}) >= len(CAMPAIGN_KINDS) - 3


def test_the_few_are_the_first_of_the_many() -> None:
    few = [record for record in population(FEW) if isinstance(record, Campaign)]
    assert few == [r for r in population(1_000) if isinstance(r, Campaign)][:FEW]
    assert all(campaign.when == "" for campaign in few)


def test_a_measurement_says_what_was_decided_and_what_it_cost() -> None:
    found = measure(events=2_000, customers=300, rounds=1)
    assert found["decisions_1000"] > found["decisions_10"] > 0
    assert found["cpu_ratio_1000_campaigns"] > 0
