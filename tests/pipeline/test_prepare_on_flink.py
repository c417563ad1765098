"""`beckon prepare` on a real Flink cluster makes what pandas makes of the same days."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.servers import free_settings, running
from jobs.analytics.history import clean_day, merged, of_day, read_day
from jobs.prepare import run
from jobs.settings import Settings
from schemas.errors import UserMistake
from tests.unit.nightly.test_steps import NIGHT, market

pytestmark = [pytest.mark.flink, pytest.mark.stack, pytest.mark.slow]


def test_flink_and_pandas_make_the_same_rows_of_the_same_days(tmp_path: Path) -> None:
    archive, into = tmp_path / "archive", tmp_path / "customers"
    market(archive, days=12)
    settings = free_settings(tmp_path / "stack")
    with running(settings, "flink"):
        run(settings, archive, into, NIGHT, days=10)
    files = sorted((archive / "events").glob("day=*/*.parquet"))[-10:]
    want = merged(
        of_day(clean_day(read_day(paths), day)[0])
        for day, paths in groupby(files, lambda path: path.parent.name)
    )
    parts = [pd.read_parquet(path) for path in into.rglob("*") if path.is_file()]
    got = pd.concat(parts).set_index("user_id").sort_index()[want.columns]
    pd.testing.assert_frame_equal(got.astype(float), want.astype(float), rtol=1e-12)


def test_an_archive_without_events_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="no events in"):
        run(Settings(data_dir=tmp_path), tmp_path, tmp_path / "out", NIGHT, 3)


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    market(tmp_path / "archive", days=1, customers=8)
    into = tmp_path / "mine"
    into.mkdir()
    (into / "letters.txt").write_text("dear")
    with pytest.raises(UserMistake, match=r"holds letters\.txt"):
        run(Settings(data_dir=tmp_path), tmp_path / "archive", into, NIGHT, 3)
    assert (into / "letters.txt").read_text() == "dear"
