"""The rows of a simulated day, by table, as the archiver would have written them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from jobs.archive.tables import DECISIONS, EVENTS, EXAMPLES, OUTCOMES, REWARDS, event_row
from jobs.archive.write import folder, write_file
from schemas.control import Policy
from schemas.event import BehaviorEvent
from schemas.outcome import CHANNELS
from scoring.features import FEATURE_HASH

TRUTH: Final = "truth"
VERSION: Final = "simulated"

_TRUTH_SCHEMA: Final = pa.schema(
    [pa.field("decision_id", pa.string()), pa.field("click_probability", pa.float64())]
)


class Day:
    """The rows of a day, by table."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.outcomes: list[dict[str, Any]] = []
        self.examples: list[tuple[Any, ...]] = []
        self.rewards: list[tuple[Any, ...]] = []
        self.truth: list[tuple[str, float]] = []
        self.offers: list[tuple[float, str | None]] = []


_EXAMPLE: Final = (
    "decision_id", "user_id", "campaign_id", "channel", "features", "score", "decided_at_ms",
)  # fmt: skip
_REWARD: Final = (
    "decision_id", "user_id", "campaign_id", "channel", "kind", "reward", "ts", "value",
)  # fmt: skip


def event_in(event: BehaviorEvent, ingested_ms: int) -> dict[str, Any]:
    """An event's row; it never was on a topic."""
    row = event_row(event)
    row["topic_partition"] = row["topic_offset"] = -1
    row["ingested_ms"] = ingested_ms
    return row


def write_day(root: Path, day: date, rows: Day) -> None:
    """One file a table and day, all of the archive's first batch; it counts by the manifest."""
    name = "0000000001-0000000001.parquet"
    placed = {"topic_partition": -1, "topic_offset": -1, "ingested_ms": 0}
    write_file(folder(root, EVENTS, day) / name, pa.Table.from_pylist(rows.events, EVENTS.schema))
    write_file(
        folder(root, OUTCOMES, day) / name, pa.Table.from_pylist(rows.outcomes, OUTCOMES.schema)
    )
    columns: dict[str, Any] = dict(zip(_EXAMPLE, zip(*rows.examples, strict=True), strict=True))
    columns.update(
        feature_hash=[FEATURE_HASH] * len(rows.examples),
        propensity=[1 / len(CHANNELS)] * len(rows.examples),
        model_version=[VERSION] * len(rows.examples),
        holdout=[False] * len(rows.examples),
        channels=[CHANNELS] * len(rows.examples),
    )
    write_file(folder(root, EXAMPLES, day) / name, _table(EXAMPLES.schema, columns, placed))
    _write_decisions(folder(root, DECISIONS, day) / name, rows, placed)
    columns = dict(zip(_REWARD, zip(*rows.rewards, strict=True), strict=True))
    columns["holdout"] = [False] * len(rows.rewards)
    for blank in ("outcome_id", "order_id"):
        columns[blank] = [""] * len(rows.rewards)
    write_file(folder(root, REWARDS, day) / name, _table(REWARDS.schema, columns, placed))
    names, likely = zip(*rows.truth, strict=True)
    path = root / TRUTH / f"day={day.isoformat()}" / name
    write_file(
        path,
        pa.table({"decision_id": names, "click_probability": likely}, schema=_TRUTH_SCHEMA),
    )


def _write_decisions(path: Path, rows: Day, placed: dict[str, int]) -> None:
    """The decision of each example: sent, at what its channel usually costs."""
    names = ("decision_id", "user_id", "campaign_id", "channel", "score", "decided_at_ms")
    places = [_EXAMPLE.index(name) for name in names]
    columns: dict[str, Any] = {
        name: [row[place] for row in rows.examples]
        for name, place in zip(names, places, strict=True)
    }
    size = len(rows.examples)
    prices = {channel: round(cost * 1e6) for channel, cost in Policy().channel_cost.items()}
    discounts, items = zip(*rows.offers, strict=True)
    columns.update(
        status=["send"] * size,
        campaign_version=[1] * size,
        propensity=[1 / len(CHANNELS)] * size,
        model_version=[VERSION] * size,
        feature_hash=[FEATURE_HASH] * size,
        offer_type=["coupon" if each else "none" for each in discounts],
        offer_discount_ratio=discounts,
        item_id=items,
        cost_micros=[prices[channel] for channel in columns["channel"]],
    )
    write_file(path, _table(DECISIONS.schema, columns, placed))


def _table(schema: pa.Schema, columns: dict[str, Any], placed: dict[str, int]) -> pa.Table:
    size = len(columns["decision_id"])
    arrays = []
    for field in schema:
        if field.name in columns:
            arrays.append(pa.array(columns[field.name], field.type))
        elif field.name in placed:
            arrays.append(pa.array([placed[field.name]] * size, field.type))
        elif pa.types.is_floating(field.type) or pa.types.is_integer(field.type):
            arrays.append(pa.array([0] * size, field.type))
        else:
            arrays.append(pa.nulls(size, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)
