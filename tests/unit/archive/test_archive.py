from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.archive import write
from jobs.archive.read import days, files, labelled, read_day, rows
from jobs.archive.tables import EVENTS, EXAMPLES, TABLES, Row, starts_ms
from jobs.archive.write import Archive, read_manifest
from jobs.trainers.base import join
from schemas.decision import Decision
from schemas.errors import UserMistake
from schemas.learning import Example, Reward
from schemas.topics import DAY_MS
from schemas.wire import encode
from tests.contract_values import records_of
from tests.unit.archive.rows import example, history, reward, stored

MONDAY = date(2026, 3, 2)
AT = starts_ms(MONDAY)


def placed(row: Row, offset: int, partition: int = 0) -> Row:
    return {"topic_partition": partition, "topic_offset": offset, "ingested_ms": AT, **row}


@pytest.mark.parametrize("contract", [Example, Reward, Decision], ids=lambda each: each.__name__)
@given(data=st.data())
def test_every_column_of_a_table_is_filled_from_its_contract(contract: Any, data: Any) -> None:
    table = next(each for each in TABLES.values() if each.name == f"{contract.__name__.lower()}s")
    row = placed(table.row(encode(data.draw(records_of(contract))), ""), 7)
    assert set(table.schema.names) <= row.keys()
    (found,) = pa.Table.from_pylist([row], table.schema).to_pylist()
    expected = {name: row[name] for name in table.schema.names}
    for name, value in expected.items():
        assert found[name] == (list(value) if isinstance(value, tuple) else value)


def test_personal_data_reaches_the_archive_masked() -> None:
    raw = {
        "event_id": "e1",
        "user_id": "u1",
        "action": "login",
        "ts": AT,
        "query": "flowers for Jen",
        "traits": {"phone": "13812345678", "email": "jen.doe@shop.example", "name": "Jen Doe"},
    }
    row = EVENTS.row(json.dumps(raw).encode(), "")
    assert row["traits_phone"] == "138****5678"
    assert row["traits_email"] == "j***@shop.example"
    assert row["traits_name"] == "J***"
    assert "Jen" not in str(row.values())


def test_rows_lie_by_the_day_of_their_event_time(tmp_path: Path) -> None:
    with Archive(tmp_path) as archive:
        archive.append(stored(example("a", AT), example("b", AT + DAY_MS), example("c", AT + 1)))
    assert days(tmp_path, EXAMPLES) == [MONDAY, date(2026, 3, 3)]
    assert read_day(tmp_path, EXAMPLES, MONDAY, ["decision_id"]).to_pylist() == [
        {"decision_id": "a"},
        {"decision_id": "c"},
    ]


def test_an_event_dated_after_it_came_lies_on_the_day_on_which_it_came(tmp_path: Path) -> None:
    raw = {"event_id": "e1", "user_id": "u1", "action": "view", "ts": AT + 40 * DAY_MS}
    with Archive(tmp_path) as archive:
        archive.append({"events": [placed(EVENTS.row(json.dumps(raw).encode(), ""), 0)]})
    assert days(tmp_path, EVENTS) == [MONDAY]


def test_a_record_that_was_published_twice_is_read_once(tmp_path: Path) -> None:
    with Archive(tmp_path) as archive:
        archive.append(stored(example("a", AT), example("b", AT)))
        archive.append(stored(example("b", AT), example("c", AT), example("c", AT)))
    names = read_day(tmp_path, EXAMPLES, MONDAY)["decision_id"].to_pylist()
    assert names == ["a", "b", "c"]


def test_labelled_rows_are_those_that_training_from_the_topics_finds(tmp_path: Path) -> None:
    records = list(history(400))
    with Archive(tmp_path) as archive:
        for start in range(0, len(records), 37):
            archive.append(stored(*records[start : start + 37]))
    expected = join(records)
    found = rows(tmp_path)
    assert len(found.labels) > 100
    assert np.array_equal(found.features, expected.features)
    assert np.array_equal(found.labels, expected.labels)
    assert found.digest() == expected.digest()


def test_an_example_carries_what_it_earned_and_none_of_a_held_out_customer(
    tmp_path: Path,
) -> None:
    with Archive(tmp_path) as archive:
        archive.append(
            stored(
                example("a", AT),
                example("b", AT + 1),
                example("h", AT, holdout=True),
                reward("a", "clicked", AT + 5),
                reward("b", "expired", AT + DAY_MS),
                reward("a", "converted", AT + DAY_MS, value=30.0, order_id="o", share=1.0),
                reward("a", "reversed", AT + 2 * DAY_MS, value=-10.0, order_id="o"),
                reward("h", "converted", AT, value=9.0, holdout=True),
            )
        )
    ((day, table),) = labelled(tmp_path)
    assert day == MONDAY
    found = table.select(["decision_id", "clicked", "value"]).to_pylist()
    assert found == [
        {"decision_id": "a", "clicked": True, "value": 20.0},
        {"decision_id": "b", "clicked": False, "value": 0.0},
    ]


def test_there_is_one_writer(tmp_path: Path) -> None:
    with Archive(tmp_path), pytest.raises(UserMistake, match="another process writes"):
        Archive(tmp_path)
    Archive(tmp_path).close()


def test_a_batch_killed_at_any_step_counts_wholly_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call that touches the disk is once the last: what is read afterwards is never part."""
    records = list(history(60))
    first, second = stored(*records[:40]), stored(*records[40:])
    first_names = {row["decision_id"] for row in first["examples"]}
    all_names = first_names | {row["decision_id"] for row in second["examples"]}
    calls = ("write_file", "replace_file", "sync_folder")
    real = {name: getattr(write, name) for name in calls}
    for fatal in range(1, 60):
        root = tmp_path / str(fatal)
        with Archive(root) as archive:
            archive.append(first, {"t/0": 40})
        count = 0

        def dying(name: str, fatal: int = fatal) -> Any:
            def call(*arguments: Any) -> None:
                nonlocal count
                count += 1
                if count == fatal:
                    raise KeyboardInterrupt
                real[name](*arguments)

            return call

        for name in calls:
            monkeypatch.setattr(write, name, dying(name))
        died = False
        archive = Archive(root)
        try:
            archive.append(second, {"t/0": 60})
        except KeyboardInterrupt:
            died = True
        finally:
            archive.close()
        for name in calls:
            monkeypatch.setattr(write, name, real[name])
        expected = all_names if read_manifest(root).offsets == {"t/0": 60} else first_names
        assert names_of(root) == expected
        with Archive(root) as again:  # and the next writer goes on from there
            if again.manifest.offsets != {"t/0": 60}:
                again.append(second, {"t/0": 60})
        assert names_of(root) == all_names
        if not died:
            assert fatal > 10, "the law must have been tried at many steps"
            return
    pytest.fail("never came to the end of a batch")


def names_of(root: Path) -> set[str]:
    found: list[str] = []
    for day in days(root, EXAMPLES):
        assert all("partial" not in path.name for path in files(root, EXAMPLES, day))
        found += read_day(root, EXAMPLES, day)["decision_id"].to_pylist()
    assert len(found) == len(set(found))
    return set(found)
