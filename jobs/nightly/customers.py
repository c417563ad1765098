"""Clean the days' events and make one row for each customer; weigh what each cares about.

Days are read one at a time, so memory holds the customers and one day.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from jobs.analytics.cleaning import Cleaned, fill_missing, tame_outliers
from jobs.analytics.encoding import tag_weights
from jobs.analytics.history import clean_day, merged, of_day, read_day
from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.people import joined, who_is_whom
from jobs.nightly.stopping import stopping
from schemas.topics import DAY_MS

DAYS: Final = 90
INTERESTS: Final = 3
LABEL: Final = 128
"""Characters that a trait may have."""


def run(context: Context) -> StepReport:
    """Write ``customers.parquet`` and the interests among the night's tags.

    Raises:
        StepStopped: there are no events, or a day's are not fit.
    """
    import pandas as pd

    files = context.table("events", DAYS)
    known = who_is_whom(context)
    if not files:
        raise StepStopped(f"no events up to {context.day} in {context.archive_dir}; archive first")
    days = [(name, list(paths)) for name, paths in groupby(files, lambda path: path.parent.name)]
    if days[-1][0] != f"day={context.day}":
        raise StepStopped(
            f"the newest events are of {days[-1][0][4:]}, not of {context.day}: is the archiver "
            "running? `--day` names another night"
        )
    told: dict[str, list[Cleaned]] = {}
    interests: dict[tuple[str, str], int] = {}
    parts: list[Any] = []
    with stopping():
        for name, paths in context.track(days, "days"):
            events, steps = clean_day(read_day(paths), name[4:])
            events = joined(events, known)
            for each in steps:
                told.setdefault(each.step, []).append(each)
            _note_interests(events, interests)
            parts = [merged([*parts, of_day(events)])]
        customers, more = _whole(parts[0], context)
    weights = tag_weights((user, tag, count) for (user, tag), count in interests.items())
    _write_interests(context, weights)
    customers.to_parquet(context.output("customers.parquet"))
    rows = [_summed(each) for each in told.values()] + more
    unlike = pd.Series([len(own) for own in weights.values()], dtype=float)
    return StepReport(
        "Customers, cleaned",
        facts=(
            Fact("days", len(days)),
            Fact("customers", len(customers)),
            Fact("ids joined into others", sum(u != c for u, c in known.customers.items())),
            Fact("who bought", int((customers["orders"] > 0).sum())),
            Fact("with an interest of their own", int((unlike > 0).sum()), "by TF-IDF"),
        ),
        tables=(
            Table(
                "What cleaning did",
                ("step", "rows before", "rows after", "values changed", "how"),
                tuple((r.step, r.before, r.after, r.changed, r.note) for r in rows),
            ),
        ),
    )


def _whole(customers: Any, context: Context) -> tuple[Any, list[Cleaned]]:
    """Recency filled by its maximum, money without what lies far outside."""
    end_ms = (context.day.toordinal() - 719_163 + 1) * DAY_MS
    table = customers.assign(
        recency_days=(end_ms - customers["last_order_ms"]) / DAY_MS, money_raw=customers["money"]
    )
    if not table["recency_days"].notna().any():
        return table.assign(recency_days=float(DAYS)), []
    table, filled = fill_missing(table, [], recency=["recency_days"])
    bought = table["orders"] > 0
    tamed, outliers = tame_outliers(table[bought], ["money"])
    table.loc[bought, "money"] = tamed["money"]
    return table, [*filled, *outliers]


def _note_interests(events: Any, counts: dict[tuple[str, str], int]) -> None:
    named = events[events["item_category"].notna()]
    for key, count in named.groupby(["user_id", "item_category"]).size().items():
        counts[key] = counts.get(key, 0) + int(count)


def _write_interests(context: Context, weights: dict[str, list[tuple[str, float]]]) -> None:
    import pandas as pd

    words = {
        user: " ".join(tag.replace(" ", "-") for tag, _ in own[:INTERESTS])[:LABEL]
        for user, own in weights.items()
        if own
    }
    table = pd.DataFrame({"user_id": list(words), "interests": list(words.values())})
    table.sort_values("user_id").to_parquet(context.output("tags.parquet"), index=False)


def _summed(steps: list[Cleaned]) -> Cleaned:
    return Cleaned(
        steps[0].step,
        sum(each.before for each in steps),
        sum(each.after for each in steps),
        sum(each.changed for each in steps),
        steps[0].note,
    )
