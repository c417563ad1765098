"""The door of each table: counts, ranges, freshness and drift; a bad partition stops the night.

A step that reads a table calls `admit` first. It never trains on a partition that is not what the
day before makes one expect: it is stopped with the reason, and yesterday's model stays.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from schemas.topics import DAY_MS
from scoring.features import BOUND, FEATURE_HASH, FEATURES

LEAST_ROWS: Final = 100
FEW: Final = {"decisions": 1}
"""Tables of which fewer rows do."""

SHRUNK: Final = 0.3
"""A day with less than this share of the rows of the day before is taken for half a partition."""

DRIFT: Final = 0.5
"""Standard deviations by which the mean of a number may move in a day."""

CLOCK_MS: Final = 300_000
"""How far an event may be dated outside its day: a producer's clock ran back or ahead."""

COLUMNS: Final[dict[str, dict[str, str]]] = {
    "events": {
        "event_id": "string",
        "user_id": "string",
        "action": "string",
        "ts": "int64",
        "item_id": "string",
        "price": "double",
        "quantity": "int64",
    },
    "outcomes": {"outcome_id": "string", "user_id": "string", "kind": "string", "ts": "int64"},
    "examples": {
        "decision_id": "string",
        "user_id": "string",
        "campaign_id": "string",
        "features": "list<element: double>",
        "feature_hash": "string",
        "score": "double",
        "propensity": "double",
        "decided_at_ms": "int64",
    },
    "decisions": {
        "decision_id": "string",
        "user_id": "string",
        "campaign_id": "string",
        "status": "string",
        "cost_micros": "int64",
        "decided_at_ms": "int64",
    },
    "rewards": {"decision_id": "string", "kind": "string", "reward": "double", "ts": "int64"},
}
"""Table → the columns that the night needs, with their Parquet types."""

OPTIONAL: Final = frozenset({"item_id", "price", "quantity"})
"""Columns in which a row may have nothing."""

STALE_MS: Final = 6 * 3_600_000
"""By how much a day may end before the day before it did: longer, and the archiver stood still."""

SHARE: Final = 0.25
"""By how much the share of an action, or of rows in which a column is filled, may move in a day."""

MAY_BE_ABSENT: Final = ("outcomes", "decisions")
"""Tables without which a night can do; where there is a partition, it must be fit."""

MOST_MONEY: Final = 1e12

_STATUS: Final = ("send", "holdout")
_LIMITS: Final = (
    ("rows, at least", LEAST_ROWS),
    ("rows, as a share of the day before, at least", SHRUNK),
    ("end of the day against the day before, at most, h", STALE_MS // 3_600_000),
    ("time outside of its day, at most, s", CLOCK_MS // 1_000),
    ("mean of a feature against the day before, deviations", DRIFT),
    ("share of an action, or of rows filled, against the day before", SHARE),
    ("price, at most", MOST_MONEY),
)
_MOMENT: Final = {"examples": "decided_at_ms", "decisions": "decided_at_ms"}
_KINDS: Final = (
    "clicked", "expired", "bounced", "unsubscribed", "complained", "converted", "reversed",
)  # fmt: skip


def run(context: Context) -> StepReport:
    """Admit or refuse the night's partition of every table there is.

    Raises:
        StepStopped: one is not fit; all that is wrong with any is said.
    """
    rows, wrong = [], []
    for name in COLUMNS:
        if name in MAY_BE_ABSENT and not context.table(name, 2):
            continue
        try:
            found = admit(context, name)
        except StepStopped as stop:
            wrong.append(str(stop))
            continue
        newest = datetime.fromtimestamp(found["newest"] / 1_000, UTC)
        rows.append((name, found["rows"], found["before"], f"{newest:%Y-%m-%d %H:%M:%S}"))
    if wrong:
        raise StepStopped("; ".join(wrong))
    return StepReport(
        "Data quality",
        facts=(Fact("tables admitted", len(rows)),),
        tables=(
            Table("The night's partitions", ("table", "rows", "day before", "newest, UTC"),
                  tuple(rows)),
            Table("What is held against each", ("check", "limit"), _LIMITS),
        ),
    )  # fmt: skip


def admit(context: Context, name: str) -> dict[str, Any]:
    """Check a table's newest partition against its contract and the day before.

    Raises:
        StepStopped: what is wrong, in which file, and what to do.
    """
    day, before = context.day.isoformat(), (context.day - timedelta(days=1)).isoformat()
    files = context.table(name, 2)
    mine = [path for path in files if path.parent.name == f"day={day}"]
    where = f"{name} of {day}"
    if not mine:
        raise StepStopped(f"{where}: no partition at {context.archive_dir / name}; is the archiver "
                          "running? Archive the day, then run the step again")  # fmt: skip
    table = _frame(name, mine)
    old = _frame(name, [path for path in files if path not in mine])
    count, was = len(table), 0 if old is None else len(old)
    least = FEW.get(name, LEAST_ROWS)
    if count < least:
        raise StepStopped(f"{where}: {count} rows, at least {least} are needed; an empty day "
                          "teaches nothing")  # fmt: skip
    if was >= LEAST_ROWS and count < SHRUNK * was:
        raise StepStopped(
            f"{where}: {count} rows after {was} on {before}; half a partition? Archive the day anew"
        )
    _validate(where, name, table, context)
    moment = _MOMENT.get(name, "ts")
    newest = int(table[moment].max())
    if old is not None and was >= LEAST_ROWS:
        late_ms = int(old[moment].max()) + DAY_MS - newest
        if late_ms > STALE_MS:
            raise StepStopped(
                f"{where}: the newest row is {late_ms / 3_600_000:.1f} h earlier in its day than "
                f"that of {before}; did the archiver stand still? Archive the day anew"
            )
        _drift(where, name, table, old)
    return {"rows": count, "before": was, "newest": newest}


def _frame(name: str, files: list[Path]) -> Any:
    """The needed columns as a data frame, types checked before; None without files."""
    import pandas as pd
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema, read_table

    frames = []
    for path in files:
        try:
            schema = read_schema(path)
            for column, kind in COLUMNS[name].items():
                if column not in schema.names:
                    raise StepStopped(f"{path}: no column {column!r}; it was written by another "
                                      "release, archive the day anew")  # fmt: skip
                found = str(schema.field(column).type).replace("<item:", "<element:")
                if found != kind:
                    raise StepStopped(f"{path}: column {column!r} is {found}, not {kind}")
            frames.append(
                read_table(path, columns=list(COLUMNS[name]), partitioning=None).to_pandas()
            )
        except (ArrowException, OSError) as error:
            raise StepStopped(f"{path} is not a whole Parquet file ({error}); archive that day "
                              "anew") from error  # fmt: skip
    return pd.concat(frames, ignore_index=True) if frames else None


def _validate(where: str, name: str, table: Any, context: Context) -> None:
    import pandera.pandas as pa

    moment = _MOMENT.get(name, "ts")
    begins = (context.day.toordinal() - 719_163) * DAY_MS
    keys = {
        column: pa.Column(nullable=False)
        for column, kind in COLUMNS[name].items()
        if kind == "string" and column not in OPTIONAL
    }
    checks = dict(keys)
    checks[moment] = pa.Column(
        checks=pa.Check.in_range(begins - CLOCK_MS, begins + DAY_MS + CLOCK_MS),
        nullable=False,
    )
    if name == "examples":
        checks["score"] = pa.Column(float, pa.Check.in_range(0, 1), nullable=False)
        checks["propensity"] = pa.Column(float, pa.Check.in_range(0, 1), nullable=False)
    if name == "events":
        checks["price"] = pa.Column(float, pa.Check.in_range(0, MOST_MONEY), nullable=True)
    if name == "decisions":
        checks["status"] = pa.Column(str, pa.Check.isin(_STATUS), nullable=False)
        checks["cost_micros"] = pa.Column(checks=pa.Check.ge(0), nullable=False)
    if name == "rewards":
        checks["reward"] = pa.Column(float, nullable=False)
        checks["kind"] = pa.Column(str, pa.Check.isin(_KINDS), nullable=False)
    try:
        pa.DataFrameSchema(checks).validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        first = error.failure_cases.iloc[0]
        raise StepStopped(
            f"{where}: column {first['column']!r} fails {first['check']} in "
            f"{len(error.failure_cases)} rows, first {first['failure_case']!r}; mend or remove the "
            "partition"
        ) from error
    if name == "examples":
        _features(where, table)


def _features(where: str, table: Any) -> None:
    import numpy as np

    ours = table[table["feature_hash"] == FEATURE_HASH]["features"]
    if not len(ours):
        raise StepStopped(f"{where}: no row has this release's features ({FEATURE_HASH})")
    widths = {len(vector) for vector in ours}
    if widths != {len(FEATURES)}:
        raise StepStopped(f"{where}: vectors of {sorted(widths)} features, not {len(FEATURES)}")
    whole = np.stack(ours.to_numpy())
    bad = ~(np.abs(whole) <= BOUND)
    if bad.any():
        first = FEATURES[int(bad.any(axis=0).argmax())]
        raise StepStopped(
            f"{where}: the feature {first!r} is no "
            f"number within ±{BOUND:g} in {int(bad.any(axis=1).sum())} rows"
        )


def _drift(where: str, name: str, table: Any, old: Any) -> None:
    if name == "examples":
        _drift_of_features(where, table, old)
    if name == "events":
        _drift_of_events(where, table, old)


def _drift_of_events(where: str, table: Any, old: Any) -> None:
    """What customers do, and what is told of it, moves slowly from day to day."""
    now, was = (each["action"].value_counts(normalize=True) for each in (table, old))
    moved = now.reindex(now.index.union(was.index), fill_value=0.0).sub(was, fill_value=0.0)
    if moved.abs().max() > SHARE:
        action = moved.abs().idxmax()
        raise StepStopped(
            f"{where}: {now.get(action, 0.0):.0%} of the events are {action!r}, after "
            f"{was.get(action, 0.0):.0%} the day before; a producer fell silent, or sends twice"
        )
    for column in sorted(OPTIONAL):
        filled, before = (float(each[column].notna().mean()) for each in (table, old))
        if abs(filled - before) > SHARE:
            raise StepStopped(
                f"{where}: column {column!r} is filled in {filled:.0%} of the rows, after "
                f"{before:.0%} the day before; a producer's mapping changed"
            )
    prices, earlier = table["price"].dropna(), old["price"].dropna()
    if earlier.nunique() > 1 and len(prices) >= LEAST_ROWS and prices.nunique() == 1:
        raise StepStopped(
            f"{where}: column 'price' is constant ({prices.iloc[0]:g}) and was not the day before; "
            "a producer fills in a placeholder"
        )


def _drift_of_features(where: str, table: Any, old: Any) -> None:
    import numpy as np

    new_x, old_x = (
        np.stack(each[each["feature_hash"] == FEATURE_HASH]["features"].to_numpy()[:50_000])
        for each in (table, old)
    )
    for place, feature in enumerate(FEATURES):
        was, now = old_x[:, place], new_x[:, place]
        spread = was.std()
        if spread > 1e-9 and now.std() < 1e-9 and len(now) >= LEAST_ROWS:
            raise StepStopped(f"{where}: the feature {feature!r} is constant ({now[0]:g}) and was "
                              "not the day before; a tag is no longer filled")  # fmt: skip
        calendar = feature in ("weekend", "hour_sin", "hour_cos")
        growth = feature.endswith("_log") or "message" in feature or feature == "active_day_ratio"
        limit = DRIFT * (4 if growth else 1)
        if spread > 1e-9 and not calendar and abs(now.mean() - was.mean()) > limit * spread:
            raise StepStopped(f"{where}: the mean of {feature!r} went from {was.mean():.4g} to "
                              f"{now.mean():.4g}, more than {limit:g} deviations")  # fmt: skip
