"""Region and spending power: right as often as they are sure, withheld otherwise, of who agreed."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from jobs.analytics.places import around, kilometres, on_sphere, usual
from jobs.analytics.spending import BANDS, MONTH_DAYS, fit, power
from jobs.market.archive import write_archive
from jobs.models.artefact import load
from jobs.nightly import STEPS, told
from jobs.nightly.context import Context
from jobs.nightly.runner import run_step
from jobs.nightly.tags import payloads
from jobs.trainers.tag import LEAST_CONFIDENCE
from schemas.errors import UserMistake
from schemas.wire import decode_event

DAY = date(2026, 11, 26)
pytestmark = pytest.mark.filterwarnings("ignore")
EACH = pytest.mark.parametrize("step", ["region", "spending"])


def context_of(root, step):
    return Context(step, archive_dir=root / "archive", data_dir=root / "data", day=DAY,
                   console=Console(quiet=True), quick=True)  # fmt: skip


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    root = tmp_path_factory.mktemp("static")
    write_archive(root / "archive", customers=5_000, examples=100, events=110_000, days=12,
                  last=DAY, seed=5)  # fmt: skip
    for step in ("told", "region", "spending"):
        manifest, _ = run_step(STEPS[step], context_of(root, step))
        assert manifest.status == "done", (step, manifest.reason)
    return root


def concluded(night, step):
    return pd.read_parquet(context_of(night, step).folder / "tags.parquet").set_index("user_id")


def test_a_region_is_right_about_as_often_as_it_is_sure(night):
    found = concluded(night, "region")
    people = pd.read_parquet(night / "archive" / "truth" / "people.parquet").set_index("user_id")
    right = (people["region"].reindex(found.index) == found["predicted_region"]).to_numpy()
    assert len(found) > 100
    spread = (right.mean() * (1 - right.mean()) / len(right)) ** 0.5
    assert right.mean() > found["region_confidence"].mean() - 3 * spread
    assert right.mean() > 0.85
    artefact = load(context_of(night, "region").folder / "artefact.json")
    assert artefact.made.id == "region"
    assert artefact.card.beats_baseline


@EACH
def test_a_tag_is_withheld_below_the_stated_confidence(night, step):
    found = concluded(night, step)
    assert found[f"{step}_confidence"].min() >= LEAST_CONFIDENCE
    facts = {fact.name: fact.value for fact in context_of(night, step).told(step)[0].facts}
    assert facts["withheld"] > 0
    assert facts["concluded of"] == len(found)


@EACH
def test_nothing_is_said_of_who_did_not_agree_to_marketing(night, step):
    people = told.read(context_of(night, "x"))
    assert people.reindex(concluded(night, step).index)["marketing"].all()
    assert not people["marketing"].all()


def test_no_region_is_said_of_who_told_theirs(night):
    people = told.read(context_of(night, "x"))
    assert people.reindex(concluded(night, "region").index)["region"].isna().all()


@EACH
def test_a_conclusion_becomes_a_tag_that_the_stream_takes(night, step):
    [payload] = payloads(concluded(night, step).head(1), DAY.isoformat(), 1_795_000_000_000)
    traits = decode_event(payload).traits
    assert (traits.predicted_region or traits.spending_power) is not None
    assert traits.region is None


def test_who_is_said_to_spend_more_then_spends_more(night):
    report, _ = context_of(night, "spending").told("spending")
    judged = next(table for table in report.tables if table.title == "Judged by what came after")
    came = [row[4] for row in judged.rows]
    assert [row[0] for row in judged.rows] == list(BANDS)
    assert came[2] > 1.5 * came[0]
    assert came == sorted(came)
    assert not report.warnings


def drawn(count=6_000, seed=1):
    """Customers of a known monthly average: orders, days, mean order, and that average."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(0.8, 1 / 6, count)
    worth = 5.0 / rng.gamma(4.0, 1 / 60.0, count)
    days = rng.uniform(5, 90, count)
    orders = rng.poisson(rate * days).astype(float)
    total = np.array([
        rng.gamma(5.0, one / 5.0, int(n)).sum()
        for n, one in zip(orders, worth, strict=True)
    ])  # fmt: skip
    return orders, days, total / np.maximum(1, orders), MONTH_DAYS * rate * worth


def test_the_band_is_the_true_one_as_often_as_is_said():
    orders, days, mean, truth = drawn()
    known = fit(orders, days, mean, np.random.default_rng(2))
    assert np.quantile(truth, (1 / 3, 2 / 3)) == pytest.approx(known.edges, rel=0.1)
    found = power(known, orders, days, mean, np.random.default_rng(3))
    right = np.array(BANDS)[np.searchsorted(known.edges, truth, "right")] == found.band
    for low, high in ((0.35, 0.5), (0.5, 0.7), (0.7, 0.85), (0.85, 1.01)):
        mine = (found.confidence >= low) & (found.confidence < high)
        spread = (0.25 / mine.sum()) ** 0.5
        assert mine.sum() > 200
        assert right[mine].mean() == pytest.approx(found.confidence[mine].mean(), abs=3 * spread)
    assert found.monthly.mean() == pytest.approx(truth.mean(), rel=0.1)


def test_who_was_seen_for_a_day_is_less_sure_than_who_was_seen_for_a_year():
    orders, days, mean, _ = drawn()
    known = fit(orders, days, mean, np.random.default_rng(2))
    found = power(known, [1, 36], [10.0, 360.0], [400.0, 400.0], np.random.default_rng(3))
    assert found.confidence[0] < found.confidence[1]


@pytest.mark.parametrize(
    ("orders", "days", "words"),
    [([0.0] * 80, [1.0] * 80, "0 customers bought"), ([1.0] * 80, [-1.0] * 80, "clock")],
)
def test_what_nothing_can_be_concluded_from_is_refused(orders, days, words):
    with pytest.raises(UserMistake, match=words):
        fit(orders, days, [5.0] * 80, np.random.default_rng(1))


def test_a_journey_does_not_move_the_usual_position():
    users = np.array([0, 0, 0, 2])
    lat, lon = np.array([60.0, 60.01, 0.0, 10.0]), np.array([10.0, 10.01, 100.0, 179.9])
    home, fixes, spread = usual(users, 3, lat, lon)
    assert fixes.tolist() == [3, 0, 1]
    apart = kilometres(np.linalg.norm(home[0] - on_sphere(np.array([60.0]), np.array([10.0]))[0]))
    assert apart < 2
    assert np.isnan(home[1]).all()
    assert spread[0] > 1_000 > spread[2] == 0.0


def test_neighbours_are_near_over_the_date_line_and_nobody_is_their_own():
    lon = np.array([179.9, -179.9, 0.0, 0.1, 179.95])
    home = on_sphere(np.zeros(5), lon)
    region = np.array(["east", "east", "zero", "zero", None], dtype=object)
    known = np.array([True, True, True, True, False])
    found = around(home[[0, 1, 4]], np.ones(3), np.zeros(3), region[[0, 1, 4]], known[[0, 1, 4]])
    assert found.region.tolist() == ["east"] * 3
    alone = around(home, np.ones(5), np.zeros(5), region, known)
    assert alone.inputs[0, 0] < 1.0, "of four on the map, one other is from the east"
    assert kilometres(np.array([2.0]))[0] == pytest.approx(np.pi * 6_371)
