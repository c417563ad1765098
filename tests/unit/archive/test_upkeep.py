from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.archive import upkeep, write
from jobs.archive.read import days, files, read_day, rows
from jobs.archive.tables import EXAMPLES, TABLES, starts_ms
from jobs.archive.upkeep import erase, merge
from jobs.archive.write import Archive, folder
from tests.unit.archive.rows import example, history, reward, stored

MONDAY = date(2026, 3, 2)
AT = starts_ms(MONDAY)


def filled(root: Path, batches: int = 30) -> list[Any]:
    records = list(history(150))
    with Archive(root) as archive:
        for number in range(batches):
            archive.append(stored(*records[number::batches]))
    return records


def test_merged_files_hold_what_the_small_ones_held(tmp_path: Path) -> None:
    filled(tmp_path)
    before = {day: read_day(tmp_path, EXAMPLES, day) for day in days(tmp_path, EXAMPLES)}
    assert len(files(tmp_path, EXAMPLES, MONDAY)) > 20
    for day in before:
        assert merge(tmp_path, EXAMPLES, day, least=2)
        assert not merge(tmp_path, EXAMPLES, day, least=2)
    for day, table in before.items():
        assert read_day(tmp_path, EXAMPLES, day).equals(table)
        assert len(list(folder(tmp_path, EXAMPLES, day).iterdir())) == 1


def test_a_merge_killed_at_any_step_changes_nothing_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path)
    before = read_day(tmp_path, EXAMPLES, MONDAY)
    real = Path.unlink
    for left in range(5):

        def dying(path: Path, *rest: Any, left: list[int] = [left]) -> None:  # noqa: B006
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            real(path, *rest)

        monkeypatch.setattr(Path, "unlink", dying)
        with pytest.raises(KeyboardInterrupt):
            merge(tmp_path, EXAMPLES, MONDAY, least=2)
        monkeypatch.setattr(Path, "unlink", real)
        assert read_day(tmp_path, EXAMPLES, MONDAY).equals(before)
        with Archive(tmp_path) as archive:
            archive.append(stored(reward("x", "clicked", AT)))
            archive.append(stored(example(f"new{left}", AT)))
        before = read_day(tmp_path, EXAMPLES, MONDAY)
    assert merge(tmp_path, EXAMPLES, MONDAY, least=2)
    assert read_day(tmp_path, EXAMPLES, MONDAY).equals(before)
    assert len(list(folder(tmp_path, EXAMPLES, MONDAY).iterdir())) == 1


def test_an_erased_customer_is_in_no_file_and_does_not_come_back(tmp_path: Path) -> None:
    filled(tmp_path)
    users = ["u-d0000", "u-d0077", "u-d0149"]
    taken = erase(tmp_path, users)
    assert taken["examples"] == 3
    assert erase(tmp_path, users) == dict.fromkeys(taken, 0)
    with Archive(tmp_path) as archive:
        archive.append(stored(example("d0000", AT), reward("d0077", "clicked", AT)))
    assert len(rows(tmp_path).labels) > 50
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for user in users:
                assert user.encode() not in data
                if path.suffix == ".parquet":
                    table = pq.read_table(path, partitioning=None)
                    assert user not in table["user_id"].to_pylist()


def test_erasing_clears_what_a_dead_batch_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path, batches=2)
    archive = Archive(tmp_path)
    monkeypatch.setattr(write, "replace_file", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        archive.append(stored(example("late", AT)))
    archive.close()
    erase(tmp_path, ["u-late"])
    found = [path for path in (tmp_path / "examples").rglob("*.parquet")]
    names = {
        name
        for path in found
        for name in pq.read_table(path, partitioning=None)["user_id"].to_pylist()
    }
    assert names
    assert "u-late" not in names


def test_every_table_of_customers_can_be_erased_from() -> None:
    assert {name for name, table in TABLES.items() if "user_id" not in table.schema.names} == {
        "control"
    }
    assert upkeep.MERGED_FROM >= 2
