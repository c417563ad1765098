"""Which state the stream resumes from."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jobs import restore
from jobs.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def checkpoint(settings: Settings, job: str, number: int, content: str = "state") -> str:
    place = restore.checkpoints(settings) / job / f"chk-{number}"
    place.mkdir(parents=True)
    (place / "_metadata").write_text(content)
    return place.as_uri()


def test_there_is_nothing_before_the_first_run(settings: Settings) -> None:
    assert restore.latest(settings) is None


def test_the_savepoint_of_a_stop_comes_before_any_checkpoint(settings: Settings) -> None:
    restore.note_start(settings, "one")
    checkpoint(settings, "one", 7)
    restore.note_savepoint(settings, "one", "file:/saved")

    assert restore.latest(settings) == restore.Point("file:/saved")


def test_after_a_crash_the_newest_complete_checkpoint_counts(settings: Settings) -> None:
    restore.note_start(settings, "one")
    restore.note_savepoint(settings, "one", "file:/saved")
    restore.note_start(settings, "two")
    checkpoint(settings, "two", 9)
    newest = checkpoint(settings, "two", 10)
    checkpoint(settings, "two", 11, content="")

    assert restore.latest(settings) == restore.Point(newest)


def test_a_job_that_died_before_its_first_checkpoint_leaves_the_one_before(
    settings: Settings,
) -> None:
    restore.note_start(settings, "one")
    kept = checkpoint(settings, "one", 3)
    restore.note_start(settings, "two")

    assert restore.latest(settings) == restore.Point(kept)


def test_a_job_that_died_before_its_first_checkpoint_leaves_the_savepoint_it_came_from(
    settings: Settings,
) -> None:
    restore.note_start(settings, "one")
    checkpoint(settings, "one", 3)
    restore.note_savepoint(settings, "one", "file:/saved")
    restore.note_start(settings, "two", origin="file:/saved")

    assert restore.latest(settings) == restore.Point("file:/saved")


def test_a_fresh_start_forgets_what_was(settings: Settings) -> None:
    restore.note_start(settings, "one")
    checkpoint(settings, "one", 3)
    restore.note_start(settings, "two", fresh=True)

    assert restore.latest(settings) is None


def test_checkpoints_of_other_jobs_on_the_cluster_are_not_ours(settings: Settings) -> None:
    restore.note_start(settings, "one")
    checkpoint(settings, "benchmark", 99)

    assert restore.latest(settings) is None


def test_a_state_on_this_machine_is_looked_for_and_one_elsewhere_trusted(
    settings: Settings,
) -> None:
    here = checkpoint(settings, "one", 1)

    assert not restore.missing(here)
    assert restore.missing(here + "0")
    assert not restore.missing("s3://bucket/savepoint-1")


def test_a_state_tells_when_it_was_complete_where_that_can_be_seen(settings: Settings) -> None:
    here = restore.Point(checkpoint(settings, "one", 1))

    assert abs(here.saved_ms - time.time() * 1_000) < 60_000
    assert restore.Point("s3://bucket/savepoint-1").saved_ms == 0
