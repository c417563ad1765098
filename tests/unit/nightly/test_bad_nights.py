"""What must never be trained on: each is stopped with the reason, and nothing comes of it."""

import shutil
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from jobs.market.archive import write_archive
from jobs.models.registry import Registry
from jobs.nightly import STEPS
from jobs.nightly.context import Context
from jobs.nightly.runner import run_step
from scoring.features import FEATURES

DAY = date(2026, 11, 26)
CHAIN = ("quality", "examples", "ctr")


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean") / "archive"
    write_archive(root, customers=300, examples=12_000, days=5, last=DAY, seed=5)
    return root


@pytest.fixture
def archive(clean, tmp_path):
    return shutil.copytree(clean, tmp_path / "archive")


def night(archive, day=DAY, steps=CHAIN):
    found = {}
    for step in steps:
        context = Context(
            step, archive_dir=archive, data_dir=archive.parent, day=day,
            console=Console(quiet=True), quick=True,
        )  # fmt: skip
        found[step], _ = run_step(STEPS[step], context)
    return found


def partition(archive, table, day=DAY):
    return next((archive / table / f"day={day}").glob("*.parquet"))


def rewrite(path, change):
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)


def replaced(column, array):
    return lambda table: table.set_column(
        table.schema.get_field_index(column), column, array(table)
    )


def vectors(change):
    def array(table):
        matrix = np.stack(table["features"].to_numpy(zero_copy_only=False))
        change(matrix)
        return pa.array(list(matrix), pa.list_(pa.float64()))

    return replaced("features", array)


def test_a_clean_night_leaves_an_artefact(archive):
    done = night(archive)
    assert {m.status for m in done.values()} == {"done"}, {s: m.reason for s, m in done.items()}
    assert list(done["ctr"].writes) == ["artefact.json"]


def emptied(archive):
    rewrite(partition(archive, "examples"), lambda table: table.slice(0, 0))


def missing(archive):
    shutil.rmtree(partition(archive, "examples").parent)


def halved(archive):
    rewrite(partition(archive, "rewards"), lambda table: table.slice(0, len(table) // 4))


def cut_off(archive):
    path = partition(archive, "examples")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_a_column(archive):
    rewrite(partition(archive, "examples"), lambda table: table.drop_columns(["score"]))


def of_another_type(archive):
    rewrite(
        partition(archive, "rewards"),
        replaced("reward", lambda table: table["reward"].cast(pa.string())),
    )


def nan_labels(archive):
    rewrite(
        partition(archive, "rewards"),
        replaced("reward", lambda t: pa.array([float("nan")] * len(t), pa.float64())),
    )


def nan_features(archive):
    rewrite(partition(archive, "examples"), vectors(lambda m: m.__setitem__((5, 3), np.nan)))


def constant_column(archive):
    place = FEATURES.index("order_mean_log")
    rewrite(partition(archive, "examples"), vectors(lambda m: m.__setitem__((..., place), 1.0)))


def drifted(archive):
    place = FEATURES.index("category_share")
    rewrite(partition(archive, "examples"), vectors(lambda m: m.__setitem__((..., place),
            np.clip(m[:, place] + 0.9, 0, 1))))  # fmt: skip


def clock_back(archive):
    def earlier(table):
        return pa.array(np.asarray(table["decided_at_ms"]) - 86_400_000 * 40, pa.int64())

    rewrite(partition(archive, "examples"), replaced("decided_at_ms", earlier))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (emptied, "0 rows"),
        (missing, "no partition"),
        (halved, "half a partition"),
        (cut_off, "not a whole Parquet file"),
        (without_a_column, "no column 'score'"),
        (of_another_type, "'reward' is string, not double"),
        (nan_labels, "'reward' fails not_nullable"),
        (nan_features, "no number within"),
        (constant_column, "'order_mean_log' is constant"),
        (drifted, "mean of 'category_share'"),
        (clock_back, "'decided_at_ms' fails"),
    ],
)
def test_a_bad_partition_stops_the_night_with_its_reason(archive, harm, reason):
    harm(archive)
    found = night(archive)
    assert found["quality"].status == "stopped"
    assert reason in found["quality"].reason
    assert {found[step].status for step in ("examples", "ctr")} == {"stopped"}
    assert not found["ctr"].writes


def test_one_class_only_stops_the_training(archive):
    for day in range(5):
        path = partition(archive, "rewards", DAY - timedelta(days=day))
        rewrite(path, replaced("kind", lambda t: pa.array(["expired"] * len(t))))
    found = night(archive)
    assert "one class only" in found["examples"].reason
    assert found["ctr"].status == "stopped"


def test_yesterdays_artefact_stays_when_today_is_stopped(archive):
    yesterday = DAY - timedelta(days=1)
    before = night(archive, yesterday)["ctr"]
    assert before.status == "done", night(archive, yesterday)["quality"].reason
    path = archive.parent / "nightly" / yesterday.isoformat() / "ctr" / "artefact.json"
    content = path.read_bytes()
    cut_off(archive)
    assert night(archive)["ctr"].status == "stopped"
    assert path.read_bytes() == content


BEHAVIOUR = (
    "told", "gender", "region", "spending", "contact", "dates", "purchase", "forecast",
)  # fmt: skip
"""Steps that learn from what customers did."""


def events_emptied(archive):
    rewrite(partition(archive, "events"), lambda table: table.slice(0, 0))


def events_halved(archive):
    rewrite(partition(archive, "events"), lambda table: table.slice(0, len(table) // 5))


def events_cut_off(archive):
    path = partition(archive, "events")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def events_without_a_column(archive):
    rewrite(partition(archive, "events"), lambda table: table.drop_columns(["price"]))


def events_of_another_type(archive):
    rewrite(
        partition(archive, "events"), replaced("ts", lambda table: table["ts"].cast(pa.string()))
    )


def events_of_one_price(archive):
    rewrite(
        partition(archive, "events"),
        replaced("price", lambda t: pa.array([9.9 if p else None for p in t["price"].to_pylist()])),
    )


def events_below_nothing(archive):
    rewrite(
        partition(archive, "events"),
        replaced("price", lambda t: pa.array([-1.0] * len(t), pa.float64())),
    )


def events_of_one_action(archive):
    rewrite(
        partition(archive, "events"), replaced("action", lambda t: pa.array(["search"] * len(t)))
    )


def events_without_items(archive):
    rewrite(
        partition(archive, "events"), replaced("item_id", lambda t: pa.nulls(len(t), pa.string()))
    )


def events_without_a_time(archive):
    rewrite(
        partition(archive, "events"),
        replaced("ts", lambda t: pa.array([None, *t["ts"].to_pylist()[1:]], pa.int64())),
    )


def events_by_a_clock_that_ran_back(archive):
    def earlier(table):
        return pa.array(np.asarray(table["ts"]) - 86_400_000 * 40, pa.int64())

    rewrite(partition(archive, "events"), replaced("ts", earlier))


def events_of_the_morning(archive):
    def morning(table):
        at = np.asarray(table["ts"])
        return table.filter(pa.array(at < at.min() + 12 * 3_600_000))

    rewrite(partition(archive, "events"), morning)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (events_emptied, "0 rows"),
        (events_halved, "half a partition"),
        (events_cut_off, "not a whole Parquet file"),
        (events_without_a_column, "no column 'price'"),
        (events_of_another_type, "'ts' is string, not int64"),
        (events_of_one_price, "'price' is constant"),
        (events_below_nothing, "'price' fails in_range"),
        (events_of_one_action, "'search'"),
        (events_without_items, "'item_id' is filled in 0%"),
        (events_without_a_time, "'ts' fails not_nullable"),
        (events_by_a_clock_that_ran_back, "'ts' fails"),
        (events_of_the_morning, "did the archiver stand still"),
    ],
)
def test_bad_events_stop_every_step_that_learns_from_them_and_yesterdays_models_stay(
    archive, harm, reason
):
    registry = Registry(archive.parent)
    harm(archive)
    found = night(archive, steps=("quality", *BEHAVIOUR))
    for step, manifest in found.items():
        assert manifest.status == "stopped", step
        assert reason in manifest.reason, step
        assert not manifest.writes
    assert registry.versions() == []


def test_yesterdays_tags_and_models_stay_when_today_is_stopped(archive):
    yesterday = DAY - timedelta(days=1)
    steps = ("told", "contact")
    done = night(archive, yesterday, steps)
    assert {m.status for m in done.values()} == {"done"}, {s: m.reason for s, m in done.items()}
    registry = Registry(archive.parent)
    versions = registry.versions()
    folder = archive.parent / "nightly" / yesterday.isoformat() / "contact"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    events_cut_off(archive)
    assert {m.status for m in night(archive, steps=steps).values()} == {"stopped"}
    assert registry.versions() == versions != []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def decisions_below_nothing(archive):
    rewrite(
        partition(archive, "decisions"),
        replaced("cost_micros", lambda t: pa.array([-5] * len(t), pa.int64())),
    )


def decisions_of_another_kind(archive):
    rewrite(
        partition(archive, "decisions"), replaced("status", lambda t: pa.array(["sent"] * len(t)))
    )


@pytest.mark.parametrize(
    ("harm", "reason"),
    [(decisions_below_nothing, "'cost_micros' fails"), (decisions_of_another_kind, "'status'")],
)
def test_bad_decisions_stop_the_split_of_the_money(archive, harm, reason):
    harm(archive)
    found = night(archive, steps=("quality", "budget"))
    assert reason in found["quality"].reason
    assert found["budget"].status == "stopped"
    assert reason in found["budget"].reason


def test_each_part_of_cleaning_is_reported_with_its_counts(archive):
    night(archive, steps=("people", "told", "customers"))
    report, _ = Context("customers", archive_dir=archive, data_dir=archive.parent, day=DAY).told(
        "customers"
    )
    rows = {row[0]: row for row in report.tables[0].rows}
    assert set(rows) >= {
        "exact duplicates", "near duplicates", "timestamps", "missing recency_days",
        "missing birth_year", "missing order_mean", "outliers of money", "one-hot income_band",
        "tags by TF-IDF",
    }  # fmt: skip
    assert rows["timestamps"][1] > 1_000
    assert rows["missing order_mean"][3] > 0
    assert rows["missing order_mean"][4] == "by the 5 nearest"
    assert rows["one-hot income_band"][3] == 3


def test_outliers_are_dropped_where_that_is_set(archive, monkeypatch):
    def money(setting):
        monkeypatch.setenv("BECKON_NIGHTLY_OUTLIERS", setting)
        night(archive, steps=("customers",))
        path = archive.parent / "nightly" / DAY.isoformat() / "customers" / "customers.parquet"
        return pd.read_parquet(path)

    kept, dropped = money("winsorise"), money("drop")
    outside = kept[kept["money"] < kept["money_raw"]]
    assert len(outside)
    assert set(kept.index) - set(dropped.index) == set(outside.index)
    assert (dropped["orders"] == 0).any(), "who bought nothing stays"
