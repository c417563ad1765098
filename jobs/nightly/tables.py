"""What the archive holds of each table, by day: rows, files, bytes."""

from __future__ import annotations

from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context

NAMES = ("events", "outcomes", "decisions", "examples", "rewards")
DAYS = 30


def run(context: Context) -> StepReport:
    """Count the archive's rows by table and day from the files' footers.

    Raises:
        StepStopped: the archive is empty, or a file is no Parquet.
    """
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import read_metadata

    rows: dict[str, dict[str, int]] = {}
    files = size = 0
    for name in NAMES:
        counts = rows.setdefault(name, {})
        for path in context.table(name, DAYS):
            day = path.parent.name.removeprefix("day=")
            try:
                counts[day] = counts.get(day, 0) + read_metadata(path).num_rows
            except (ArrowInvalid, OSError) as error:
                raise StepStopped(
                    f"{path} is not a whole Parquet file ({error}); archive that day again"
                ) from error
            files += 1
            size += path.stat().st_size
    if not files:
        raise StepStopped(
            f"{context.archive_dir} holds no table up to {context.day}: archive the stream, or "
            "make one with `beckon simulate --archive`"
        )
    days = sorted({day for counts in rows.values() for day in counts})
    return StepReport(
        "What the archive holds",
        facts=(
            Fact("days", len(days), f"{days[0]} to {days[-1]}"),
            Fact("files", files),
            Fact("size", f"{size / 2**20:,.1f} MiB"),
        ),
        tables=(
            Table(
                "Rows by day",
                ("day", *NAMES),
                tuple((day, *(rows[name].get(day, 0) for name in NAMES)) for day in days),
            ),
        ),
    )
