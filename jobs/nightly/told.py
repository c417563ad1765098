"""What customers told of themselves, and what they agreed to: the newest word of each."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.people import joined, who_is_whom
from jobs.nightly.quality import admit

DAYS: Final = 36_525
"""Who somebody is was told once, perhaps long ago; these columns are nearly empty, so reading all
days of them costs little.
"""
FILE: Final = "told.parquet"
TRAITS: Final = (
    "gender", "birth_year", "income_band", "member_level", "member_until_ms", "payment_due_ms",
    "city", "region", "country", "zone", "signup_ms",
)  # fmt: skip
_NUMBERS: Final = ("birth_year", "member_until_ms", "payment_due_ms", "signup_ms")


def run(context: Context) -> StepReport:
    """Write ``told.parquet``: a row for each customer who ever said anything.

    ``marketing`` is whether they agreed to be spoken to; a customer of several ids has agreed only
    if none of the ids that spoke refused.

    Raises:
        StepStopped: the night's events are not fit, or a file cannot be read.
    """
    import pandas as pd
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    admit(context, "events")
    known = who_is_whom(context)
    columns = [f"traits_{name}" for name in TRAITS]
    parts = []
    for path in context.track(context.table("events", DAYS), "days"):
        try:
            table = read_table(
                path, columns=["user_id", "ts", "consent_marketing", *columns], partitioning=None
            )
        except (ArrowException, OSError, KeyError) as error:
            raise StepStopped(f"{path} cannot be read ({error}); archive that day anew") from error
        day = table.to_pandas()
        parts.append(day[day[["consent_marketing", *columns]].notna().any(axis=1)])
    whole = pd.concat(parts, ignore_index=True).sort_values("ts", kind="stable")
    agreed = whole[whole["consent_marketing"].notna()].groupby("user_id")["consent_marketing"]
    last = agreed.last().astype(bool)
    ids = joined(pd.DataFrame({"user_id": last.index, "marketing": last.to_numpy()}), known)
    newest = joined(whole, known).groupby("user_id", sort=True)[columns].last()
    table = newest.rename(columns={f"traits_{name}": name for name in TRAITS})
    for name in _NUMBERS:
        table[name] = table[name].astype(float)
    all_agreed = ids.groupby("user_id")["marketing"].min()
    table["marketing"] = all_agreed.reindex(table.index, fill_value=False).astype(bool)
    table.to_parquet(context.output(FILE))
    rows = [(name, int(table[name].notna().sum()), int(table[name].nunique())) for name in TRAITS]
    return StepReport(
        "What customers told",
        facts=(
            Fact("customers who told anything", len(table)),
            Fact("agreed to marketing", int(table["marketing"].sum())),
        ),
        tables=(Table("Known of them", ("trait", "customers", "different values"), tuple(rows)),),
    )


def read(context: Context) -> Any:
    """What the step wrote, by customer; None where it has not run."""
    import pandas as pd

    path = context.file(context.work_dir / "told" / FILE)
    return pd.read_parquet(path) if path.exists() else None


def hours_ahead(told: Any, users: Any, at_ms: int) -> Any:
    """By how many hours each customer's clock is ahead of UTC at a time; 0 where nobody told."""
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if told is None:
        return np.zeros(len(users))
    moment = datetime.fromtimestamp(at_ms / 1_000, UTC)
    zones = told["zone"].reindex(users)
    offsets = {}
    for name in zones.dropna().unique():
        try:
            offset = moment.astimezone(ZoneInfo(name)).utcoffset()
        except (ZoneInfoNotFoundError, ValueError):
            offset = None  # a producer's own word for it
        offsets[name] = offset.total_seconds() / 3_600 if offset is not None else 0.0
    return zones.map(offsets).fillna(0.0).to_numpy(float)
