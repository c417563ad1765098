"""Visitors of each hour and sales of each item tomorrow, against what the season alone says."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import msgspec
import numpy as np

from jobs.nightly import drawing, models, reading
from jobs.nightly.base import Chart, Fact, StepReport, StepStopped
from jobs.nightly.context import Context
from jobs.nightly.runner import write
from jobs.nightly.stopping import stopping
from jobs.trainers import forecast
from jobs.trainers.base import Matrix, Trained
from schemas.control import Forecast, ItemSales

DAY_MS: Final = 86_400_000
FILE: Final = "forecast.json"
ID: Final = "visitors"


def run(context: Context) -> StepReport:
    """Count the archive's events, say what the next day brings, and the week's hours and each
    item's sales to the stream.

    Raises:
        StepStopped: the events are not fit, or there are too few days.
    """
    events = reading.events(context, ("item_id", "item_category", "quantity"))
    end_ms = (context.day.toordinal() - 719_162) * DAY_MS
    days = int(-(-(end_ms - int(events["ts"].iloc[0])) // DAY_MS))
    first_ms = end_ms - days * DAY_MS
    at = (events["ts"].to_numpy() - first_ms) // 3_600_000
    codes = events["user_id"].cat.codes.to_numpy().astype(np.int64)
    seen = np.unique(codes * (days * 24) + at) % (days * 24)
    hours = np.bincount(seen, minlength=days * 24).astype(float)
    if (hours.reshape(-1, 24).sum(axis=1) == 0).any():
        raise StepStopped("a day among those of the archive has no visitor; archive it first")
    items, sold, kinds = _sold(events, at // 24, days)
    with stopping():
        coming = models.train(
            context, "visitors", forecast.visitors(hours, first_ms), "visitors.json"
        )
        selling = models.train(
            context, "sales", forecast.sales(sold, first_ms, kinds), "sales.json"
        )
    use = models.keep(context, coming), models.keep(context, selling)
    by_day = hours.reshape(-1, 24)
    ahead = models.scores(coming, forecast.hourly_inputs(by_day, end_ms)) if use[0] else by_day[-1]
    rates = models.scores(selling, forecast.daily_inputs(sold)) if use[1] else sold.mean(axis=1)
    write(
        context.output(FILE),
        {
            "day": (context.day + timedelta(days=1)).isoformat(),
            "visitors": ahead.tolist(),
            "sales": dict(zip(items, np.round(rates, 4).tolist(), strict=True)),
        },
    )
    records = (
        Forecast(ID, forecast.week(ahead, by_day, first_ms), "UTC", end_ms),
        *(ItemSales(item, round(rate, 4), end_ms)
          for item, rate in zip(items, rates.tolist(), strict=True)),
    )  # fmt: skip
    context.output("control.jsonl").write_bytes(
        b"".join(msgspec.json.encode(record) + b"\n" for record in records)
    )
    first = models.report("Visitors and sales", coming, (Fact("items", len(items)),))
    second = models.report("Sales", selling)
    return StepReport(
        first.title,
        facts=(
            *(_named("visitors", fact) for fact in first.facts),
            *(_named("sales", fact) for fact in second.facts),
        ),
        tables=tuple(
            msgspec.structs.replace(table, title=f"{what}: {table.title}")
            for what, told in (("Visitors", first), ("Sales", second))
            for table in told.tables
        ),
        charts=(_last_day(by_day, first_ms, coming), *first.charts[:1], *second.charts[:1]),
        warnings=(
            *(f"visitors: {warning}" for warning in first.warnings),
            *(f"sales: {warning}" for warning in second.warnings),
        ),
    )


def _named(what: str, fact: Fact) -> Fact:
    return msgspec.structs.replace(fact, name=f"{what}: {fact.name}")


def _sold(events: object, day: Matrix, days: int) -> tuple[list[str], Matrix, list[str]]:
    """Items that ever sold, what of each on each day, and their categories."""
    import pandas as pd

    assert isinstance(events, pd.DataFrame)
    bought = ((events["action"] == "purchase") & events["item_id"].notna()).to_numpy()
    if not bought.any():
        raise StepStopped("nothing was bought in the archive; there are no sales to foretell")
    codes = events["item_id"].cat.codes.to_numpy()[bought].astype(np.int64)
    amount = events["quantity"].fillna(1).to_numpy(float)[bought]
    count = len(events["item_id"].cat.categories)
    cells = codes * days + day[bought].astype(np.int64)
    sold: Matrix = np.bincount(cells, amount, minlength=count * days).reshape(count, days) * 1.0
    kept = np.flatnonzero(sold.sum(axis=1))
    kinds = pd.Series("", index=range(count), dtype=object)
    last = events.loc[bought, "item_category"].astype(object).groupby(codes).last()
    kinds.update(last.dropna())
    names = [str(events["item_id"].cat.categories[at]) for at in kept]
    return names, sold[kept], [str(kinds[at]) for at in kept]


def _last_day(days: Matrix, first_ms: int, found: Trained) -> Chart:
    """The newest day, as it came and as it was foretold."""
    drawn, axes = drawing.figure()
    inputs = forecast.hourly_inputs(days[:-1], first_ms + (len(days) - 1) * DAY_MS)
    axes.plot(days[-1], color=drawing.INK, label="came")
    axes.plot(models.scores(found, inputs), color=drawing.COOL, label="forecast")
    axes.plot(days[-2], color=drawing.SOFT, label="the day before")
    axes.set_xlabel("hour of the day, UTC")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return drawing.chart("Visitors of the last day", drawn)
