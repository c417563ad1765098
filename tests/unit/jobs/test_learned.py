from __future__ import annotations

import pytest
from rich.console import Console
from scipy.stats import binom

from jobs.learned import arms, challenger_sentence, table
from state.stores.learned import Learned
from state.stores.memory import MemoryView
from tests.published import batch, mix, posterior, shadow


@pytest.fixture
def found() -> Learned:
    view = MemoryView()
    view.write(
        batch(
            view,
            posterior("c", 3, 41),
            posterior("c", 1, 30, channel="push"),
            posterior("c", 0, 2, variant="e1/a"),
            posterior("d", 2, 2),
            mix("c", 0.7),
            mix("c", 0.1, case=3),
            mix("c", 0.4, variant="e1/a"),
        )
    )
    return view.learned()


def test_arms_stand_by_campaign_variant_and_channel_with_their_shares(found: Learned) -> None:
    assert [(a.campaign_id, a.variant, a.channel, a.share) for a in arms(found)] == [
        ("c", "", "push", pytest.approx(0.3)),
        ("c", "", "sms", 0.7),
        ("c", "e1/a", "sms", 0.4),
        ("d", "", "sms", None),
    ]
    assert [each.campaign_id for each in arms(found, "d")] == ["d"]


def test_a_belief_is_told_as_its_mean_and_interval(found: Learned) -> None:
    sms = arms(found)[1]
    assert (sms.exposures, sms.clicks, sms.mean) == (41, 3, pytest.approx(4 / 61))
    # what is known of a Beta(4, 57) by counting: four successes or more of sixty
    assert binom.sf(3, 60, [sms.low, sms.high]) == pytest.approx([0.025, 0.975])


def test_it_is_printed_with_every_arm_and_the_challenger_in_words(found: Learned) -> None:
    console = Console(width=160, record=True, file=None)
    with console.capture() as said:
        console.print(table(arms(found)))
    assert said.get().count("e1/a") == 1
    assert "70.0%" in said.get()
    assert challenger_sentence(shadow(900)) == (
        "challenger: log loss 0.2000, champion 0.3000, the mean alone 0.4000, over 900 labelled "
        "messages; 0.1000 better, and it decides nothing"
    )
