from __future__ import annotations

from typing import Any

from jobs.audit.worth import Change, Worth, changes, sentences
from jobs.campaigns.trial import Trial
from schemas.learning import Reward
from tests.published import decision


def reward(name: str, kind: Any, **fields: Any) -> Reward:
    return Reward(name, "ann", "spring", "sms", kind, 0.0, 5, **fields)


MADE = [
    decision("ann", 1, campaign_id="spring"),
    decision("ann", 2, campaign_id="spring"),
    decision("bob", 2, campaign_id="spring"),  # its repeat, as after a crash
    decision("bob", 3, campaign_id="summer"),
    decision("dee", 5, campaign_id="spring"),
    decision("cid", 4, campaign_id="spring", status="holdout"),
]
REWARDS = [
    reward("d1", "clicked"),
    reward("d1", "clicked"),
    reward("d1", "converted", value=40.0, order_id="o1"),
    reward("d1", "converted", value=40.0, order_id="o1"),
    reward("d1", "reversed", value=-10.0, order_id="o1", outcome_id="back"),
    reward("d2", "expired"),
    reward("d9", "clicked"),
]


def test_what_came_of_a_message_stays_or_falls_away_with_it_and_new_ones_are_worth_nothing_known():
    trial = Trial(
        sent_before={"d1": "spring", "d2": "spring"},
        sent_after={"d1": "spring", "d3": "summer", "d7": "summer", "d8": "autumn"},
    )
    found = changes(trial, MADE, REWARDS)
    assert found == {
        "autumn": Change(Worth(), Worth(), 1),
        "spring": Change(Worth(1, 1, 30.0), Worth(1, 0, 0.0), untold=1),
        "summer": Change(Worth(1, 0, 0.0), Worth(), 1),
    }
    assert sentences(found) == [
        "autumn: gains 1 sends",
        "spring: keeps 1 sends with 1 clicks and 30.00 revenue, loses 1 sends with 0 clicks and "
        "0.00 revenue",
        "summer: keeps 1 sends with 0 clicks and 0.00 revenue, gains 1 sends",
        "in all: keeps 2 sends with 1 clicks and 30.00 revenue, loses 1 sends with 0 clicks and "
        "0.00 revenue, gains 2 sends",
        "what the gained ones would have brought no log can tell, for nobody got them; an "
        "experiment can",
        "left out are 1 sends whose reason lies before the time that was tried; an earlier "
        "--from takes them in",
    ]


def test_campaigns_that_nothing_happens_to_are_named_once():
    trial = Trial(sent_before={"d1": "spring"}, sent_after={"d1": "spring", "d7": "summer"})
    found = changes(trial, MADE[:1], [])
    assert sentences(found)[:2] == ["summer: gains 1 sends", "untouched: spring"]
    assert sentences(changes(trial, MADE[:1], [])) != sentences(changes(Trial(), MADE[:1], []))


def test_a_message_that_the_trial_makes_both_times_is_no_new_one():
    """What the trial cannot know of the time before is wrong in both of its runs alike."""
    trial = Trial(sent_before={"d7": "spring"}, sent_after={"d7": "spring"})
    assert changes(trial, [], REWARDS) == {}
    assert sentences({}) == ["nothing that was sent is touched"]
