"""Experiments and learning rules as files: what is wrong is told with its line, field and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.campaigns.changes import plan
from jobs.campaigns.files import read_file, read_files
from jobs.models.registry import Registry
from schemas.control import Campaign, control_key
from schemas.decision import Offer
from schemas.errors import UserMistake
from schemas.experiment import Experiment
from schemas.learning_rules import Learning
from tests.unit.models.made import artefact

SOUND = """\
kind: experiment
id: which
campaigns: [spring]
variants:
  - {name: a, share: 40%}
  - {name: b, share: 40%, min_score: 1%, learning: {policy: bayes-ucb, half_life: 14d}}
"""
CAMPAIGN = """\
kind: campaign
id: spring
name: Spring
trigger: {kind: event, actions: [cart]}
channels: [push, email]
learning: {policy: linear-thompson, floor: 5%, per_hour: 10%, half_life: 7d, off: [email]}
"""


def written(folder: Path, text: str, name: str = "x.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_an_experiment_is_read_and_published_once(tmp_path: Path) -> None:
    file = read_file(written(tmp_path, SOUND))
    record = file.record
    assert isinstance(record, Experiment)
    assert control_key(record) == "experiment/which"
    assert record.variants[1].learning == Learning("bayes-ucb", half_life_ms=14 * 86_400_000)
    assert record.variants[1].min_score == 0.01
    [change] = plan([file], {}, 7, prune=False)
    assert change.after is not None
    assert plan([file], {change.key: change.after}, 8, prune=False) == []
    [gone] = plan([], {change.key: change.after}, 9, prune=True)
    assert (gone.verb, gone.after) == ("withdrawn", None)


def test_a_variant_may_name_a_model_of_the_registry_and_an_offer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BECKON_DATA_DIR", str(tmp_path))
    text = SOUND.replace("min_score: 1%", "model: ctr-2, offer: {type: coupon, discount: 10%}")
    file = written(tmp_path, text)
    with pytest.raises(UserMistake, match=r"6: variants\.1\.model: no model 'ctr-2' in .*empty"):
        read_file(file)
    registry = Registry(tmp_path)
    registry.add(artefact("ctr-20261126"))
    with pytest.raises(UserMistake, match="did you mean 'ctr-20261126'"):
        read_file(written(tmp_path, text.replace("ctr-2,", "ctr-20261125,")))
    with pytest.raises(UserMistake, match="it has ctr-20261126; `beckon models list`"):
        read_file(written(tmp_path, text.replace("ctr-2,", "best,")))
    registry.add(artefact("ctr-2"))
    record = read_file(written(tmp_path, text)).record
    assert isinstance(record, Experiment)
    assert record.variants[1].model == "ctr-2"
    assert record.variants[1].offer == Offer("coupon", 0.1, 7)


def test_the_learning_of_a_campaign_is_read(tmp_path: Path) -> None:
    record = read_file(written(tmp_path, CAMPAIGN)).record
    assert isinstance(record, Campaign)
    assert record.learning == Learning(
        "linear-thompson", 0.05, 0.1, 7 * 86_400_000, ("email",), None
    )


@pytest.mark.parametrize(
    ("text", "was", "becomes", "told"),
    [
        (SOUND, "name: b, share: 40%", "name: b, share: 70%", "4: variants: the shares add up to"),
        (SOUND, "name: b", "name: a", "4: variants: variant 'a' is named twice"),
        (SOUND, "bayes-ucb", "best", "6: variants.1.learning.policy"),
        (SOUND, "[spring]", "[spring, spring]", "3: campaigns.1: spring is named twice"),
        (CAMPAIGN, "[email]", "[email, push]", "6: learning.off: every channel is off"),
        (CAMPAIGN, "off: [email]", "fixed: {sms: 1}", "6: learning.fixed: gives none"),
        (CAMPAIGN, "floor: 5%", "flor: 5%", "6: learning.flor"),
    ],
)
def test_what_is_wrong_is_told_with_line_field_and_fix(
    tmp_path: Path, text: str, was: str, becomes: str, told: str
) -> None:
    assert was in text
    with pytest.raises(UserMistake) as mistake:
        read_file(written(tmp_path, text.replace(was, becomes)))
    assert told in str(mistake.value)


def test_two_experiments_on_one_campaign_are_refused(tmp_path: Path) -> None:
    written(tmp_path, SOUND, "a.yaml")
    written(tmp_path, SOUND.replace("id: which", "id: other"), "b.yaml")
    with pytest.raises(UserMistake, match="spring is in experiment"):
        read_files([tmp_path])


def test_the_shipped_experiments_are_sound() -> None:
    from jobs.settings import Settings

    files = read_files([Settings().infra / "campaigns" / "experiments"])
    assert [file.record.id for file in files] == ["which-offer", "which-policy"]
