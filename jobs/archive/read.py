"""Reading the archive day by day: each record once, in bounded memory, and examples with labels.

A topic is written at least once, so a record may lie in the archive more often than it happened;
repeats have equal event times and so share a day, and a reader hands out the first of each key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.archive.tables import EXAMPLES, REWARDS, ArchiveTable
from jobs.archive.write import folder, read_manifest, span_of
from jobs.trainers.base import Rows, close
from schemas.errors import UserMistake
from schemas.learning import LABELS
from scoring.features import FEATURE_HASH, FEATURES

_TRIES: Final = 10

ANSWERED_WITHIN_DAYS: Final = 31
"""How many days of rewards are read for a day of examples, its own among them."""

LABELLED: Final = EXAMPLES.schema.append(pa.field("clicked", pa.bool_())).append(
    pa.field("value", pa.float64())
)
"""Columns of `labelled`: an example, whether it was clicked, and the revenue credited to it."""


def days(root: Path, table: ArchiveTable) -> list[date]:
    """The days of which a table has rows, oldest first."""
    found = (root / table.name).glob("day=*")
    return sorted(date.fromisoformat(path.name.removeprefix("day=")) for path in found)


def files(root: Path, table: ArchiveTable, day: date) -> list[Path]:
    """The files that count of a day: batches that are whole, those in a larger file left out."""
    newest = read_manifest(root).batch
    found = {span_of(path): path for path in folder(root, table, day).glob("*.parquet")}
    kept: list[Path] = []
    covered = 0
    for (_, last), path in sorted(found.items(), key=lambda each: (each[0][0], -each[0][1])):
        if covered < last <= newest:
            kept.append(path)
            covered = last
    return kept


def read_day(
    root: Path, table: ArchiveTable, day: date, columns: Sequence[str] | None = None
) -> pa.Table:
    """The rows of a day in the order in which they were archived, each key once.

    ``columns`` leaves out the others; all of the schema's unless given.
    """
    wanted = table.schema.names if columns is None else list(columns)
    needed = [*wanted, *(name for name in table.key if name not in wanted)]
    schema = pa.schema([table.schema.field(name) for name in needed])
    for _ in range(_TRIES):
        try:
            parts = [
                pq.read_table(path, columns=needed, partitioning=None)
                for path in files(root, table, day)
            ]
            break
        except FileNotFoundError:  # it has just been merged into a larger one
            continue
    else:
        raise UserMistake(f"the files of {folder(root, table, day)} change all the time; try again")
    rows = (
        pa.concat_tables([part.cast(schema) for part in parts]) if parts else schema.empty_table()
    )
    return _once(rows, table.key).select(wanted)


def read(
    root: Path,
    table: ArchiveTable,
    of: Iterable[date] | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[tuple[date, pa.Table]]:
    """Day after day of a table, in the order asked; all days unless told."""
    for day in days(root, table) if of is None else of:
        yield day, read_day(root, table, day, columns)


def labelled(root: Path, of: Iterable[date] | None = None) -> Iterator[tuple[date, pa.Table]]:
    """Examples whose attribution window has closed, with what became of them, day after day.

    Oldest first within a day. Which are answered is what `jobs.trainers.base.close` says, so they
    are the very rows that ``beckon train`` learns from; held-out customers are left out. ``value``
    is the revenue credited in `ANSWERED_WITHIN_DAYS`. Holds two days in memory at a time.

    Raises:
        UserMistake: there is no archive at ``root``.
    """
    if not (root / EXAMPLES.name).is_dir():
        raise UserMistake(f"no archived examples at {root}; run `beckon archive` beside the stream")
    wanted = days(root, EXAMPLES) if of is None else sorted(of)
    closed_ms: dict[str, int] = {}
    for day in wanted:
        shown = _shown(root, day, ["decision_id", "campaign_id", "decided_at_ms", "holdout"])
        close(closed_ms, _moments(shown), _answers(root, day, shown)[0])
    for day in wanted:
        shown = _shown(root, day)
        clicked, value = _answers(root, day, shown)
        names = shown["decision_id"].to_pylist()
        moments = _moments(shown)
        places = [
            place
            for place, name in enumerate(names)
            if name in clicked and moments[name][0] <= closed_ms.get(moments[name][1], -1)
        ]
        places.sort(key=lambda place: (moments[names[place]][0], names[place]))
        rows = shown.take(pa.array(places, pa.int64()))
        kept = [names[place] for place in places]
        rows = rows.append_column("clicked", pa.array([clicked[n] for n in kept], pa.bool_()))
        rows = rows.append_column(
            "value", pa.array([value.get(n, 0.0) for n in kept], pa.float64())
        )
        yield day, rows.cast(LABELLED)


def rows(root: Path, of: Iterable[date] | None = None) -> Rows:
    """Labelled examples as trainers take them, oldest first; other features are left out."""
    features, labels, other = [], [], 0
    for _, table in labelled(root, of):
        ours = table.filter(pc.equal(table["feature_hash"], FEATURE_HASH))
        other += len(table) - len(ours)
        flat = ours["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        features.append(flat.reshape(-1, len(FEATURES)))
        labels.append(ours["clicked"].to_numpy(zero_copy_only=False).astype(np.float64))
    return Rows(
        np.concatenate(features) if features else np.empty((0, len(FEATURES))),
        np.concatenate(labels) if labels else np.empty(0),
        {"other_features": other},
    )


def _shown(root: Path, day: date, columns: Sequence[str] | None = None) -> pa.Table:
    found = read_day(root, EXAMPLES, day, columns)
    return found.filter(pc.invert(found["holdout"]))


def _moments(shown: pa.Table) -> dict[str, tuple[int, str]]:
    return {
        name: (at_ms, campaign)
        for name, at_ms, campaign in zip(
            shown["decision_id"].to_pylist(),
            shown["decided_at_ms"].to_pylist(),
            shown["campaign_id"].to_pylist(),
            strict=True,
        )
    }


def _answers(root: Path, day: date, shown: pa.Table) -> tuple[dict[str, bool], dict[str, float]]:
    """Of these examples, whether each that is answered was clicked, and what it earned."""
    ids = shown["decision_id"].combine_chunks()
    clicked: dict[str, bool] = {}
    value: dict[str, float] = {}
    columns = ["decision_id", "kind", "value"]
    until = day + timedelta(days=ANSWERED_WITHIN_DAYS)
    later = [each for each in days(root, REWARDS) if day <= each < until]
    for _, rewards in read(root, REWARDS, later, columns):
        mine = rewards.filter(pc.is_in(rewards["decision_id"], ids))
        for name, kind, worth in zip(*(mine[each].to_pylist() for each in columns), strict=True):
            if kind in LABELS:
                clicked[name] = clicked.get(name, False) or kind == "clicked"
            elif worth:
                value[name] = value.get(name, 0.0) + worth
    return clicked, value


def _once(rows: pa.Table, key: tuple[str, ...]) -> pa.Table:
    """The first row of each key."""
    if len(rows) < 2:
        return rows
    place = pa.array(np.arange(len(rows)))
    firsts = rows.select(list(key)).append_column("_place", place).group_by(list(key))
    kept = firsts.aggregate([("_place", "min")])["_place_min"]
    return rows if len(kept) == len(rows) else rows.take(pa.array(np.sort(kept.to_numpy())))
