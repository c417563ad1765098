"""What must never be trained on: each is stopped with the reason, and nothing comes of it."""

import shutil
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from jobs.market.archive import write_archive
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
