"""Gender from behaviour: right as often as it says, withheld otherwise, and only of who agreed."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from jobs.market.archive import write_archive
from jobs.models.artefact import load
from jobs.models.registry import Registry
from jobs.nightly import STEPS, gender, told
from jobs.nightly.context import Context
from jobs.nightly.runner import run_step
from jobs.nightly.tags import payloads
from jobs.trainers.gender import conclude
from jobs.trainers.tag import LEAST_CONFIDENCE
from schemas.wire import decode_event

DAY = date(2026, 11, 26)
pytestmark = pytest.mark.filterwarnings("ignore")


def run(root, step):
    context = Context(step, archive_dir=root / "archive", data_dir=root / "data", day=DAY,
                      console=Console(quiet=True), quick=True)  # fmt: skip
    manifest, _ = run_step(STEPS[step], context)
    return context, manifest


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    root = tmp_path_factory.mktemp("gender")
    write_archive(root / "archive", customers=2_000, examples=100, events=60_000, days=4,
                  last=DAY, seed=5)  # fmt: skip
    assert run(root, "told")[1].status == "done"
    context, manifest = run(root, "gender")
    assert manifest.status == "done", manifest.reason
    return root, context


def concluded(night):
    return pd.read_parquet(night[1].folder / gender.TAGS_FILE).set_index("user_id")


def test_it_is_right_about_as_often_as_it_is_sure(night):
    root, _ = night
    found = concluded(night)
    truth = pd.read_parquet(root / "archive" / "truth" / "people.parquet").set_index("user_id")
    right = (truth["gender"].reindex(found.index) == found["predicted_gender"]).to_numpy()
    assert len(found) > 50
    spread = (right.mean() * (1 - right.mean()) / len(right)) ** 0.5
    assert right.mean() > found["gender_confidence"].mean() - 3 * spread
    assert right.mean() > 0.7


def test_it_is_withheld_below_the_stated_confidence(night):
    found = concluded(night)
    assert found["gender_confidence"].min() >= LEAST_CONFIDENCE
    words, sure = conclude(
        np.array([0.9, LEAST_CONFIDENCE - 0.01, 0.5, 1 - LEAST_CONFIDENCE - 0.01])
    )
    assert words == ["female", None, None, "male"]
    assert sure.tolist() == pytest.approx([0.9, 0.69, 0.5, 0.71])
    facts = {fact.name: fact.value for fact in night[1].told("gender")[0].facts}
    assert facts["withheld"] > 0


def test_it_says_nothing_of_who_told_it_or_did_not_agree_to_marketing(night):
    people = told.read(Context("x", archive_dir=night[0] / "archive", data_dir=night[0] / "data",
                               day=DAY))  # fmt: skip
    mine = people.reindex(concluded(night).index)
    assert mine["gender"].isna().all()
    assert mine["marketing"].all()
    assert (people["gender"].isna() & ~people["marketing"]).any(), "somebody could have been wrong"


def test_a_conclusion_becomes_a_tag_that_the_stream_takes(night):
    [payload] = payloads(concluded(night).head(1), DAY.isoformat(), 1_795_000_000_000)
    traits = decode_event(payload).traits
    assert traits.predicted_gender in ("female", "male")
    assert traits.gender is None
    assert LEAST_CONFIDENCE <= traits.gender_confidence <= 1


def test_its_model_is_sealed_and_in_the_registry(night):
    _, context = night
    artefact = load(context.folder / "artefact.json")
    assert artefact.made.id == "gender"
    assert Registry(context.data_dir).artefact(artefact.version) == artefact
    assert {group.group.split(":")[0] for group in artefact.card.groups} >= {"age"}


def test_nothing_is_said_of_anybody_where_it_does_not_beat_its_baseline(night, monkeypatch):
    root, _ = night
    monkeypatch.setattr("jobs.trainers.card.Card.beats_baseline", False)
    context, manifest = run(root, "gender")
    again = Context("gender", archive_dir=root / "archive", data_dir=root / "data", day=DAY,
                    console=Console(quiet=True), seed=43, quick=True)  # fmt: skip
    manifest, ran = run_step(gender.run, again)
    assert ran
    assert manifest.status == "done", manifest.reason
    assert not len(pd.read_parquet(context.folder / gender.TAGS_FILE))
    assert "is not used" in again.told("gender")[0].warnings[0]
