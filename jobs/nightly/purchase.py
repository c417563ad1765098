"""Who will buy: four classifiers on what was known before, judged on what came after."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from jobs.nightly import models, reading, told
from jobs.nightly.base import Fact, StepReport, StepStopped
from jobs.nightly.context import Context
from jobs.trainers.base import Matrix, Sample

DAY_MS: Final = 86_400_000
MOMENTS: Final = 6
INCOMES: Final = {"low": 1.0, "middle": 2.0, "high": 3.0}
NAMES: Final = (
    "age", "income", "female", "male", "idle_days", "events_log", "views_log", "carts_log",
    "purchases_log", "spent_log",
)  # fmt: skip
"""Age, income and gender are what the customer told; 40, the middle and neither where they did not.
"""
USUAL_AGE: Final = 40.0


def run(context: Context) -> StepReport:
    """Compare the classifiers, export the best and register it.

    Rows are customers at moments that part the archive's days evenly; the label is whether they
    bought before the next of them. What happened before the moment is all they see.

    Raises:
        StepStopped: the events are not fit, or too few bought.
    """
    events = reading.events(context, ("price", "quantity"))
    first, last = int(events["ts"].iloc[0]), int(events["ts"].iloc[-1])
    if last <= first:
        raise StepStopped("all events are of one moment; there is no before and after to learn")
    people = told.read(context)
    at = reading.moments(first, last, MOMENTS)
    parts = [
        known(events, people, since, until, context.day.year)
        for since, until in zip(at, [*at[1:], last], strict=True)
    ]
    users = np.concatenate([users for users, _, _ in parts])
    sample = Sample(
        NAMES,
        np.concatenate([x for _, x, _ in parts]),
        np.concatenate([y for _, _, y in parts]),
        np.repeat(at, [len(y) for _, _, y in parts]),
        models.groups_of(users, people, context.day.year),
    )
    found = models.train(context, "purchase", sample)
    models.keep(context, found)
    horizon = (last - first) / (MOMENTS + 1) / DAY_MS
    return models.report(
        "Who will buy", found, (Fact("horizon, days", round(horizon, 3), "that the label looks"),)
    )


def known(
    events: Any, people: Any, until_ms: int, end_ms: int, year: int
) -> tuple[Any, Matrix, Matrix]:
    """Customers at a moment, what was known of them, and whether they then bought."""
    import pandas as pd

    moments = events["ts"].to_numpy()
    begin, end = np.searchsorted(moments, (until_ms, end_ms))
    past, later = events.iloc[:begin], events.iloc[begin:end]
    codes, count = past["user_id"].cat.codes.to_numpy(), len(events["user_id"].cat.categories)
    action = past["action"].to_numpy(str)
    newest = np.zeros(count, np.int64)
    np.maximum.at(newest, codes, past["ts"].to_numpy())
    bought = action == "purchase"
    amount = (past["price"].fillna(0.0) * past["quantity"].fillna(1.0)).to_numpy(float)
    columns = [np.bincount(codes, minlength=count)]
    columns += [np.bincount(codes[action == name], minlength=count)
                for name in ("view", "cart", "purchase")]  # fmt: skip
    columns.append(np.bincount(codes[bought], amount[bought], minlength=count))
    mine = np.flatnonzero(columns[0])
    users = np.asarray(events["user_id"].cat.categories)[mine]
    told_ = pd.DataFrame(index=users) if people is None else people.reindex(users)
    gone = pd.Series(np.nan, index=users)
    born = told_.get("birth_year", gone).to_numpy(float)
    gender = told_.get("gender", gone)
    x = np.column_stack(
        (
            np.nan_to_num(year - born, nan=USUAL_AGE),
            told_.get("income_band", gone).map(INCOMES).fillna(2.0).to_numpy(float),
            (gender == "female").to_numpy(float),
            (gender == "male").to_numpy(float),
            (until_ms - newest[mine]) / DAY_MS,
            *(np.log1p(column[mine].astype(float)) for column in columns),
        )
    )
    buys = later["user_id"].cat.codes.to_numpy()[later["action"].to_numpy(str) == "purchase"]
    return users, x, np.isin(mine, buys).astype(float)
