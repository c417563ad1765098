"""Examples with their answers, as arrays in the order of time, ready for every trainer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.quality import admit
from jobs.trainers.base import Matrix
from scoring.features import FEATURE_HASH, FEATURES

DAYS: Final = 30
LEAST_OF_A_KIND: Final = 10


class Labelled(NamedTuple):
    """Columns of the same length, oldest first; features may be mapped from the disk."""

    features: Matrix
    labels: Matrix
    at_ms: NDArray[np.int64]
    campaign: NDArray[Any]
    channel: NDArray[Any]
    user: NDArray[Any]
    decision: NDArray[Any]


def run(context: Context) -> StepReport:
    """Join examples with rewards day by day and write them as arrays.

    Raises:
        StepStopped: the night's partitions are not fit, or hold one class only.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from jobs.archive.read import labelled

    admit(context, "examples")
    admit(context, "rewards")
    context.table("examples", DAYS)
    context.table("rewards", DAYS)
    wanted = [context.day - timedelta(days=back) for back in reversed(range(DAYS))]
    there = [day for day in wanted if any(
        (context.archive_dir / "examples" / f"day={day}").glob("*.parquet"))]  # fmt: skip
    parts: list[dict[str, Any]] = []
    told = []
    for day, table in context.track(labelled(context.archive_dir, there), "joining", len(there)):
        ours = table.filter(pc.equal(table["feature_hash"], FEATURE_HASH))
        flat = ours["features"].combine_chunks()
        flat = flat.flatten() if isinstance(flat, pa.ListArray) else pa.array([], pa.float64())
        clicked = ours["clicked"].to_numpy(zero_copy_only=False).astype(np.float64)
        told.append((day.isoformat(), len(table), len(table) - len(ours), int(clicked.sum())))
        parts.append(
            {
                "features": flat.to_numpy(zero_copy_only=False).reshape(-1, len(FEATURES)),
                "labels": clicked,
                "at_ms": ours["decided_at_ms"].to_numpy(),
                **{
                    name: ours[column].to_numpy(zero_copy_only=False).astype(str)
                    for name, column in (
                        ("campaign", "campaign_id"),
                        ("channel", "channel"),
                        ("user", "user_id"),
                        ("decision", "decision_id"),
                    )
                },
            }
        )
    rows = sum(len(part["labels"]) for part in parts)
    clicks = int(sum(part["labels"].sum() for part in parts))
    if min(clicks, rows - clicks) < LEAST_OF_A_KIND:
        raise StepStopped(
            f"{clicks} clicks in {rows} answered examples up to {context.day}: one class only "
            "teaches nothing; see whether outcomes arrive (`beckon ledger`)"
        )
    for name in Labelled._fields:
        np.save(context.output(f"{name}.npy"), np.concatenate([part[name] for part in parts]))
    return StepReport(
        "Training rows",
        facts=(
            Fact("examples", rows, "answered, of this release's features"),
            Fact("clicked", clicks, f"{clicks / rows:.2%}"),
        ),
        tables=(Table("By day", ("day", "answered", "other features", "clicked"), tuple(told)),),
    )


def read(context: Context) -> Labelled:
    """What this night's step wrote.

    Raises:
        StepStopped: it has not run, or was stopped.
    """
    columns = {
        name: np.load(
            context.result("examples", f"{name}.npy"), mmap_mode="r" if name == "features" else None
        )
        for name in Labelled._fields
    }
    return Labelled(**columns)
