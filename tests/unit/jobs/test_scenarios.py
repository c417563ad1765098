"""Scenarios: those that ship come out as written, and those that should not are told so."""

from pathlib import Path

import pytest
import typer

from jobs.campaigns.files import read_files
from jobs.scenarios.command import run_scenarios, scenarios_of
from jobs.scenarios.form import read_scenario
from jobs.scenarios.play import play
from schemas.control import Campaign
from schemas.errors import UserMistake
from schemas.triggers import Trigger

CAMPAIGNS = Path(__file__).resolve().parents[3] / "infra" / "campaigns"
FOLDERS = (CAMPAIGNS, CAMPAIGNS / "examples")
SCENARIOS = [path for folder in FOLDERS for path in sorted((folder / "scenarios").iterdir())]


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_shipped_campaign_does_what_its_scenario_says(path):
    assert play(read_scenario(path)) == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_shipped_campaign_has_a_scenario_and_warns_of_nothing(folder):
    files = read_files([folder], now_ms=0)
    campaigns = [file.path.name for file in files if isinstance(file.record, Campaign)]
    assert campaigns == sorted(path.name for path in (folder / "scenarios").iterdir())
    assert [warning for file in files for warning in file.warnings] == []


def test_what_ships_shows_every_kind_of_trigger():
    shown = {
        type(file.record.trigger)
        for folder in FOLDERS
        for file in read_files([folder], now_ms=0)
        if isinstance(file.record, Campaign)
    }
    assert shown == set(Trigger.__args__)


CAMPAIGN = """\
kind: campaign
id: on-cart
name: At every cart
trigger: {kind: event, actions: [cart]}
channels: [push]
cooldown: 0
"""
HEAD = "kind: scenario\ncases:\n  - name: a story\n    story:\n"


@pytest.fixture
def told(tmp_path):
    """Faults of a story about a campaign that speaks at every cart."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "on-cart.yaml").write_text(CAMPAIGN)

    def tell(story, head=HEAD):
        path = tmp_path / "scenarios" / "on-cart.yaml"
        path.write_text(head + "".join(f"      - {step}\n" for step in story))
        return [f"{fault.line}: {fault.what}" for fault in play(read_scenario(path))]

    return tell


def test_a_send_that_did_not_come_is_told_with_its_line_and_why(told):
    (fault,) = told(["{at: 0m, event: view}", "{at: 1m, expect: send}"])
    assert fault == (
        "6: expected a send of on-cart to ann at 1m (2026-03-02 12:01:00); it never wanted to speak"
    )
    (fault, other) = told(["{at: 0m, event: cart}", "{at: 1m, expect: send}"])
    assert fault.startswith("3: at 0s (2026-03-02 12:00:00) on-cart said something to ann (send by")
    assert other.endswith("; it spoke at 0s (2026-03-02 12:00:00)")


def test_silence_by_a_gate_is_told_with_its_reason(told):
    (fault,) = told(
        ["{at: 0m, event: cart}", "{at: 0m, expect: send}"],
        HEAD.replace("cases:", "customers: {ann: {consent: []}}\ncases:"),
    )
    assert "it was silent because of no_purpose: the customer never agreed" in fault


def test_a_budget_holds_in_a_story_too(told, tmp_path):
    file = tmp_path / "on-cart.yaml"
    file.write_text(f"{CAMPAIGN}budget: {{total: 0.004, pace: none}}\n")
    story = [
        *(f"{{at: {minute}m, event: cart}}" for minute in range(3)),
        *(f"{{at: {minute}m, expect: send}}" for minute in range(2)),
        "{at: 2m, expect: silence, because: no_budget}",
    ]
    assert told(sorted(story)) == []
    file.write_text(f"{CAMPAIGN}budget: {{total: 0.002, pace: none}}\n")
    assert len(told(sorted(story))) == 1


def test_a_send_that_nobody_expects_is_a_fault(told):
    (fault,) = told(["{at: 0m, event: cart}", "{at: 5m, expect: silence}"])
    assert fault.endswith("(send by push), which nothing here expects")


def test_silence_holds_only_for_the_reason_that_was_said(told):
    story = ["{at: 0m, event: cart}", "{at: 0m, expect: silence, because: no_opt_in}"]
    no_push = HEAD.replace("cases:", "customers: {ann: {consent: [sms]}}\ncases:")
    assert told(story, no_push) == []
    (fault,) = told([story[0], story[1].replace("no_opt_in", "cooldown")], no_push)
    assert "because of cooldown; the reason is: no_opt_in" in fault
    (fault,) = told(story)
    assert fault.startswith("6: expected silence of on-cart")


def test_a_channel_that_was_not_taken_is_told(told):
    (fault,) = told(["{at: 0m, event: cart}", "{at: 0m, expect: send, channel: [sms, email]}"])
    assert fault.endswith("by sms or email; it was by push")


def test_an_outcome_answers_the_last_decision_and_an_unsubscription_counts_at_once(told):
    assert (
        told(
            [
                "{at: 0m, event: cart}",
                "{at: 0m, expect: send}",
                "{at: 1m, outcome: unsubscribed}",
                "{at: 2m, event: cart}",
                "{at: 2m, expect: silence, because: no_opt_in}",
            ]
        )
        == []
    )


def test_a_held_out_customer_gets_a_decision_that_is_not_sent(told):
    story = ["{at: 0m, event: cart}", "{at: 0m, expect: holdout}"]
    assert told(story, HEAD.replace("cases:", "customers: {zoe: {holdout: true}}\ncases:")) == []
    (fault,) = told(story)
    assert fault.endswith("; it was a send")


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ("{at: soon, event: cart}", "5: cases.0.story.0.at: 'soon' is no time"),
        ("{at: 0m}", "5: cases.0.story.0: give one of event, outcome, item and expect"),
        ("{at: 0m, event: cart, expect: send}", "5: cases.0.story.0: give one of"),
        ("{at: 0m, event: cart, who: bob}", "5: cases.0.story.0.who: no customer 'bob'; there are"),
        ("{at: 0m, expect: send, campaign: x}", "5: cases.0.story.0.campaign: no campaign 'x'"),
        ("{at: 0m, expect: silence, because: x}", "5: cases.0.story.0.because: no reason 'x'"),
        ("{at: 0m, expect: send, because: cooldown}", "5: cases.0.story.0.because: only a silence"),
        ("{at: 0m, event: Cart!}", "5: action 'Cart!': want a lower-case word"),
        ("{at: 0m, event: {action: cart, price: -1}}", "5: price: expected at least 0, not -1"),
        ("{at: 0m, outcome: clicked}", "5: there is no decision of on-cart for ann yet"),
        ("{at: 0m, event: {action: cart, ts: 2026-03-02}}", "5: "),
    ],
)
def test_a_step_that_cannot_be_is_refused_with_line_and_fix(told, step, complaint):
    with pytest.raises(UserMistake) as refused:
        told([step])
    assert str(refused.value).partition(".yaml:")[2].startswith(complaint)


def test_a_story_goes_forward(told):
    with pytest.raises(UserMistake, match="comes before the step above it"):
        told(["{at: 2m, event: cart}", "{at: 1m, event: cart}"])


def test_the_command_tells_each_file_and_fails_when_a_case_does(told, tmp_path, capsys):
    told(["{at: 0m, event: cart}", "{at: 0m, expect: send}"])
    run_scenarios([tmp_path / "on-cart.yaml"])
    assert capsys.readouterr().out.splitlines() == [
        "ok      on-cart.yaml: 1 case",
        "1 of 1 case as expected",
    ]
    told(["{at: 0m, event: cart}"])
    with pytest.raises(typer.Exit):
        run_scenarios([tmp_path])
    told_lines = capsys.readouterr().out.splitlines()
    assert told_lines[0] == "FAILED  on-cart.yaml: 1 case"
    assert "scenarios/on-cart.yaml:3: a story: " in told_lines[1]


def test_a_campaign_without_a_scenario_is_told_where_to_write_one(tmp_path):
    (tmp_path / "on-cart.yaml").write_text(CAMPAIGN)
    with pytest.raises(UserMistake, match=r"has no scenario; write .*scenarios/on-cart\.yaml"):
        scenarios_of([tmp_path / "on-cart.yaml"])
