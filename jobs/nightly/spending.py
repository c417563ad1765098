"""Spending power by the monthly average, with how sure that is; only of who agreed to marketing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np

from jobs.analytics import spending
from jobs.nightly import reading, told
from jobs.nightly.base import Chart, Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.drawing import COOL, chart, figure
from jobs.nightly.stopping import stopping
from jobs.trainers.tag import LEAST_CONFIDENCE
from schemas.topics import DAY_MS

TAGS_FILE: Final = "tags.parquet"
LEARNED: Final = 0.7
"""Share of the days by which it is judged: concluded of them, compared with the rest."""


def run(context: Context) -> StepReport:
    """Conclude each customer's band, and judge it by what came after an earlier moment.

    Raises:
        StepStopped: the events are not fit, or too few bought.
    """
    import pandas as pd

    events = reading.events(context, ("price", "quantity"))
    people = told.read(context)
    if people is None:
        raise StepStopped("nobody knows what customers told; `beckon nightly told` first")
    end_ms = (context.day.toordinal() - 719_162) * DAY_MS
    begins_ms = int(events["ts"].iloc[0])
    cut_ms = begins_ms + round(LEARNED * (end_ms - begins_ms))
    rng = np.random.default_rng((context.seed, 23))
    with stopping():
        judged = _judged(events, people["signup_ms"], cut_ms, end_ms, rng)
        users, orders, days, mean = _seen(events, people["signup_ms"], end_ms)
        known = spending.fit(orders, days, mean, rng)
    found = spending.power(known, orders, days, mean, rng)
    agreed = people["marketing"].reindex(users, fill_value=False).to_numpy(bool)
    said = agreed & (found.confidence >= LEAST_CONFIDENCE)
    table = pd.DataFrame(
        {
            "user_id": users[said],
            "spending_power": found.band[said],
            "spending_confidence": np.round(found.confidence[said], 4),
        }
    )
    table.sort_values("user_id").to_parquet(context.output(TAGS_FILE), index=False)
    low, high = known.edges
    counts = [(band, int((found.band[said] == band).sum())) for band in spending.BANDS]
    return StepReport(
        "Spending power",
        facts=(
            Fact("concluded of", len(table), f"of {len(users):,} customers"),
            Fact("not asked", int((~agreed).sum()), "did not agree to marketing"),
            Fact("withheld", int((agreed & ~said).sum()), f"less sure than {LEAST_CONFIDENCE}"),
            Fact("middle from", round(low, 2), "money a month"),
            Fact("high from", round(high, 2), "money a month"),
        ),
        tables=(
            Table("Concluded", ("band", "customers"), tuple(counts)),
            Table(
                "Judged by what came after",
                ("band", "customers", "sure enough", "expected a month", "came a month"),
                tuple(judged),
                f"concluded of the first {LEARNED:.0%} of the time, compared with the rest",
            ),
        ),
        charts=(_chart(judged),),
        warnings=()
        if _apart(judged)
        else ("who is said to spend more has not spent more since; look before using the tag",),
    )


def _seen(events: Any, signup_ms: Any, until_ms: int) -> tuple[Any, Any, Any, Any]:
    """Customers met before a moment: their orders, the days in which they could have bought, and
    the mean order's worth.

    They could since the events begin, or since they signed up if they told when. Days since they
    were first met would be too few: whoever is met is met for a reason, often to buy.
    """
    past = events[events["ts"] < until_ms]
    codes = past["user_id"].cat.codes.to_numpy().astype(np.int64)
    count = len(past["user_id"].cat.categories)
    orders, money = _bought(past, codes, count)
    mine = np.flatnonzero(np.bincount(codes, minlength=count))
    users = np.asarray(past["user_id"].cat.categories)[mine]
    begins_ms = int(events["ts"].iloc[0])
    since_ms = np.maximum(signup_ms.reindex(users).fillna(begins_ms).to_numpy(float), begins_ms)
    days = np.maximum((until_ms - since_ms) / DAY_MS, 1.0)
    return users, orders[mine], days, money[mine] / np.maximum(1.0, orders[mine])


def _bought(events: Any, codes: Any, count: int) -> tuple[Any, Any]:
    """Orders that cost something, and their money, by customer."""
    amount = (events["price"].fillna(0.0) * events["quantity"].fillna(1.0)).to_numpy(float)
    paid = (events["action"] == "purchase").to_numpy() & (amount > 0)
    orders = np.bincount(codes[paid], minlength=count).astype(float)
    return orders, np.bincount(codes[paid], amount[paid], minlength=count)


def _judged(
    events: Any, signup_ms: Any, cut_ms: int, end_ms: int, rng: np.random.Generator
) -> list[tuple[str, int, int, float, float]]:
    """By the likeliest band at an earlier moment: of how many that was sure, what was expected of
    all of them a month, and what came.
    """
    users, orders, days, mean = _seen(events, signup_ms, cut_ms)
    found = spending.power(spending.fit(orders, days, mean, rng), orders, days, mean, rng)
    later = events[events["ts"] >= cut_ms]
    codes = later["user_id"].cat.codes.to_numpy().astype(np.int64)
    _, money = _bought(later, codes, len(later["user_id"].cat.categories))
    came = money[later["user_id"].cat.categories.get_indexer(users)]
    months = (end_ms - cut_ms) / DAY_MS / spending.MONTH_DAYS
    sure = found.confidence >= LEAST_CONFIDENCE
    rows = []
    for band in spending.BANDS:
        mine = found.band == band
        if mine.any():
            expected, got = float(found.monthly[mine].mean()), float(came[mine].mean() / months)
            rows.append((band, int(mine.sum()), int((mine & sure).sum()), expected, got))
    return rows


def _apart(judged: list[tuple[str, int, int, float, float]]) -> bool:
    """Whether each band brought more than the one below it."""
    came = [row[4] for row in judged]
    return all(low < high for low, high in pairwise(came))


def _chart(judged: list[tuple[str, int, int, float, float]]) -> Chart:
    drawn, axes = figure()
    axes.bar([row[0] for row in judged], [row[4] for row in judged], color=COOL)
    axes.plot([row[0] for row in judged], [row[3] for row in judged], "o", color="black")
    axes.set_ylabel("money a month")
    return chart("What each band then spent", drawn, "dots are what was expected")
