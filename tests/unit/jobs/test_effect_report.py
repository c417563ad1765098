"""What people read of campaigns and experiments: in the terminal, as JSON, and on one page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace
from typer import Typer
from typer.testing import CliRunner, Result

from jobs.effects import report as command
from jobs.effects.page import page
from jobs.effects.report import (
    compare,
    difference_sentences,
    mismatch_sentence,
    summarise,
)
from schemas.effect import (
    Counted,
    Effect,
    EffectLift,
    EffectRecord,
    ExperimentEffect,
    VariantEffect,
)
from schemas.errors import UserMistake
from schemas.learning import ORGANIC

AT = 1_772_409_600_000
CLICKS = EffectLift("clicks", 0.10, 0.15, 0.05, 0.02, 0.08, 0.5, 2_000)
ORDERS = EffectLift("orders", 0.020, 0.021, 0.001, -0.01, 0.012, 0.05, 2_000)
TRIAL = ExperimentEffect(
    "which",
    2,
    AT,
    ("spring", "autumn"),
    0.05,
    (
        VariantEffect("a", 0.5, 1_000, Counted(sends=900, clicked=90, cost=9.0), 0.1, 0.02, 1.0),
        VariantEffect(
            "b",
            0.5,
            1_000,
            Counted(sends=950, clicked=140, revenue=95.0, cost=9.5),
            0.15,
            0.021,
            1.05,
            (CLICKS, ORDERS),
            {"<loyal>": (CLICKS,)},
        ),
    ),
    0.8,
)
WHOLE = Effect("spring", None, None, None, Counted(sends=10, cost=1.0), 0.0, 0.0, 0.0, 0.0, 0.0)
HOUR = replace(WHOLE, channel="sms", segment="", hour_ms=AT)


def run(*words: str, effects: Sequence[EffectRecord] = (WHOLE, HOUR, TRIAL)) -> Result:
    app = Typer()
    app.command()(command.report)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "read_effects", lambda _settings: effects)
        return CliRunner().invoke(app, list(words))


def told(*words: str, trial: ExperimentEffect = TRIAL) -> str:
    found = run(*words, effects=(WHOLE, HOUR, trial))
    assert found.exit_code == 0, found.output
    return found.output


def mistake(*words: str, effects: Sequence[EffectRecord] = (WHOLE, HOUR)) -> str:
    found = run(*words, effects=effects)
    assert isinstance(found.exception, UserMistake)
    return str(found.exception)


def test_an_experiment_is_told_variant_by_variant_with_each_difference() -> None:
    output = told()
    assert "experiment which" in output
    assert re.search(r"b\s.*1,000\s.*950\s.*14\.74%", output)
    assert "b against a: clicks a customer 0.1500 and 0.1000: +0.0500 (95%: +0.0200 to" in output
    assert "b in <loyal> against a" in output
    assert "do not believe" not in output


def test_a_difference_says_whether_it_is_one() -> None:
    [compared] = compare([TRIAL])
    clicks, orders, loyal = difference_sentences(compared)
    assert clicks.endswith("; a difference")
    assert loyal.endswith("; a difference")
    assert orders.endswith("; no difference is shown yet")


def test_groups_of_wrong_sizes_are_warned_of_everywhere_with_what_was_due() -> None:
    lost = replace(TRIAL, sample_ratio_p=1e-9)
    [compared] = compare([lost])
    assert compared.mismatched
    assert "a 1,000 (due 1,000)" in mismatch_sentence(compared)
    output = " ".join(told(trial=lost).split())
    assert "The variants are not of the sizes they should be" in output
    assert "do not believe any comparison below" in output
    assert "class='wrong'" in page([], [compared])
    assert "class='wrong'" not in page([], compare([TRIAL]))


def test_the_experiments_of_a_campaign_are_those_about_it() -> None:
    assert [each.experiment_id for each in compare([TRIAL], "autumn")] == ["which"]
    assert compare([TRIAL], "winter") == []
    assert [each.campaign_id for each in summarise([WHOLE, HOUR, TRIAL])] == ["spring"]


def test_json_has_campaigns_and_experiments() -> None:
    found = json.loads(told("--json"))
    assert [each["campaign_id"] for each in found["campaigns"]] == ["spring"]
    [experiment] = found["experiments"]
    assert [each["name"] for each in experiment["variants"]] == ["a", "b"]
    assert experiment["variants"][1]["lifts"][0]["low"] == 0.02


def test_the_page_draws_each_difference_with_its_interval_and_fetches_nothing() -> None:
    html = page(summarise([WHOLE, HOUR]), compare([TRIAL]))
    assert "Experiment which" in html
    assert "b in &lt;loyal&gt;" in html
    assert "<loyal>" not in html
    assert not re.search(r"(src|href)=", html)
    drawings = [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", html)]
    labels = {each.get("aria-label") for each in drawings}
    assert {"clicks a customer, against a", "orders a customer, against a"} <= labels
    [clicks] = [each for each in drawings if each.get("aria-label", "").startswith("clicks")]
    assert [each.text for each in clicks.iter("title")] == ["+20.0% to +80.0%"] * 2


def test_a_page_that_cannot_be_written_says_where_and_why(tmp_path: Path) -> None:
    assert mistake("--html", str(tmp_path / "none" / "x.html")).endswith(
        "x.html: No such file or directory"
    )


def test_what_has_no_figures_is_told_with_what_has_some() -> None:
    assert "no figures of 'autumn' yet; there are figures of spring" in mistake(
        "--campaign", "autumn"
    )
    assert "is `beckon effects` running?" in mistake(effects=())
    assert "nothing happened since 2099-01-01" in mistake("--since", "2099-01-01T00:00:00Z")


def test_no_figure_is_cut_off_where_nobody_has_a_terminal() -> None:
    counted = Counted(sends=1_234_567, clicked=123_456, revenue=12_345_678.9, cost=98_765.4)
    found = run(effects=[replace(each, counted=counted) for each in (WHOLE, HOUR)])
    assert "123,456 (10.00%)" in found.output
    assert "12,345,678.90" in found.output


def test_too_few_customers_to_compare_are_told_so() -> None:
    counted = Counted(sends=10, held_out=3)
    found = run(effects=[replace(each, counted=counted) for each in (WHOLE, HOUR)])
    assert "it takes 100 customers spoken to and as many held out" in found.output
    few = replace(TRIAL, variants=(TRIAL.variants[0], replace(TRIAL.variants[1], lifts=())))
    assert "b against a: nothing can be told yet" in told(trial=few)


def test_what_is_bought_without_a_message_is_no_campaign_and_has_no_channel() -> None:
    bought = Counted(conversions=2.0, revenue=40.0)
    effects = [
        replace(each, campaign_id=ORGANIC, counted=bought, channel=None if each is WHOLE else "")
        for each in (WHOLE, HOUR)
    ]
    assert "organic: bought without a message" in run(effects=effects).output
    [organic] = summarise(effects)
    assert organic.channels == []
    assert "Click-through of each channel" not in page([organic])


def test_the_hours_of_a_drawing_are_said_as_times_and_a_single_one_is_seen() -> None:
    html = page(summarise([WHOLE, HOUR]))
    assert html.count("2026-03-02 00:00:00Z") >= 4
    assert "<circle" in html
    assert " s</text>" not in html
