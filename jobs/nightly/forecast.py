"""Visitors of each hour and sales of each item tomorrow, against what the season alone says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import numpy as np

from jobs.nightly import drawing
from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.quality import admit
from jobs.nightly.runner import write
from jobs.trainers import forecast
from schemas.errors import UserMistake

DAYS: Final = 30
DAY_MS: Final = 86_400_000
FILE: Final = "forecast.json"


def run(context: Context) -> StepReport:
    """Count the archive's events and say what the next day brings.

    Raises:
        StepStopped: the events are not fit, or there are too few days.
    """
    from pyarrow.parquet import read_table

    admit(context, "events")
    paths = context.table("events", DAYS)
    days = sorted({path.parent.name.removeprefix("day=") for path in paths})
    place = {day: number for number, day in enumerate(days)}
    hours = np.zeros((len(days), 24))
    sold: dict[str, Any] = {}
    for path in context.track(paths, "counting"):
        at = place[path.parent.name.removeprefix("day=")]
        table = read_table(
            path, columns=["user_id", "action", "ts", "item_id", "quantity"], partitioning=None
        ).to_pandas()
        hour = table["ts"] // 3_600_000 % 24
        seen = table.assign(hour=hour).drop_duplicates(["user_id", "hour"])
        hours[at] += np.bincount(seen["hour"].astype(int), minlength=24)
        bought = table[(table["action"] == "purchase") & table["item_id"].notna()]
        amounts = bought["quantity"].fillna(1).groupby(bought["item_id"]).sum()
        for item, amount in amounts.items():
            sold.setdefault(str(item), np.zeros(len(days)))[at] += amount
    try:
        visitors = forecast.hourly(hours.ravel())
        rates, classes = forecast.items(np.array(list(sold.values())).reshape(len(sold), -1))
    except UserMistake as mistake:
        raise StepStopped(str(mistake)) from mistake
    write(
        context.output(FILE),
        {
            "day": (context.day + timedelta(days=1)).isoformat(),
            "visitors": visitors.ahead,
            "sales": dict(zip(sold, rates.tolist(), strict=True)),
        },
    )
    drawn, axes = drawing.figure()
    axes.plot(visitors.actual, color=drawing.INK, label="came")
    axes.plot(visitors.model, color=drawing.COOL, label="forecast")
    axes.plot(visitors.season, color=drawing.SOFT, label="the day before")
    axes.set_xlabel("hour of the day, UTC")
    axes.legend(frameon=False)
    worse = [each.name for each in classes if each.model_error >= each.season_error]
    return StepReport(
        "Visitors and sales",
        facts=(
            Fact("visitors, error", round(visitors.model_error, 4),
                 f"of the last day; the day before as a forecast: {visitors.season_error:.4f}"),
            Fact("visitors, R²", round(visitors.r2, 4)),
            Fact("items", len(sold)),
        ),
        tables=(
            Table("Sales, error by class of item",
                  ("class", "items", "forecast", "the day before"),
                  tuple((c.name, c.items, c.model_error, c.season_error) for c in classes)),
        ),
        charts=(drawing.chart("Visitors of the last day", drawn),),
        warnings=(
            *(() if visitors.wins else ("visitors: no better than the day before",)),
            *((f"sales of {', '.join(worse)} items: no better than the day before",)
              if worse else ()),
        ),
    )  # fmt: skip
