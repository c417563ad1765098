"""Clean the days' events and make one row for each customer; weigh what each cares about.

Days are read one at a time, so memory holds the customers and one day.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from jobs.analytics.cleaning import Cleaned, fill_missing, tame_outliers, to_utc_ms
from jobs.analytics.encoding import one_hot, tag_weights
from jobs.analytics.history import clean_day, merged, of_day, read_day
from jobs.nightly import told as told_by
from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.people import joined, who_is_whom
from jobs.nightly.stopping import stopping
from schemas.topics import DAY_MS

DAYS: Final = 90
INTERESTS: Final = 3
ALIKE_AMONG: Final = 10_000
"""Customers up to whom the most alike are looked for; its time grows with their square."""
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
            _, moments = to_utc_ms(events["ts"])
            for each in (*steps, moments):
                told.setdefault(each.step, []).append(each)
            _note_interests(events, interests)
            parts = [merged([*parts, of_day(events)])]
        customers, more = _whole(parts[0], context)
        customers, encoded = _described(customers, told_by.read(context))
    weights = tag_weights((user, tag, count) for (user, tag), count in interests.items())
    _write_interests(context, weights)
    customers.to_parquet(context.output("customers.parquet"))
    weighed = Cleaned(
        "tags by TF-IDF", len(interests), sum(map(len, weights.values())), len(weights),
        "tf × ln(N / (df + 1)); the heaviest become interests",
    )  # fmt: skip
    rows = [_summed(each) for each in told.values()] + more + encoded + [weighed]
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
    how = context.settings.nightly_outliers
    tamed, outliers = tame_outliers(table[bought], ["money"], how)
    if how == "drop":  # who did not buy has no money to be outside with
        table = table[~bought | table.index.isin(tamed.index)]
    table.loc[tamed.index, "money"] = tamed["money"]
    return table, [*filled, *outliers]


def _described(customers: Any, people: Any) -> tuple[Any, list[Cleaned]]:
    """What customers told, made fit for reckoning: gaps filled, words as columns.

    Gaps of the mean order are filled by the customers most alike, as far as that can be reckoned in
    seconds; gaps of the age, of which behaviour says little, by the mean.
    """
    if people is None:
        return customers, []
    table = customers.join(people[["birth_year", "income_band"]])
    told: list[Cleaned] = []
    if table["birth_year"].notna().any():
        table, filled = fill_missing(table, ["birth_year"])
        told += filled
    table["order_mean"] = table["money"] / table["orders"].where(table["orders"] > 0)
    if len(table) <= ALIKE_AMONG and table["order_mean"].notna().any():
        alike, filled = fill_missing(
            table.astype({"views": float, "carts": float}), ["order_mean", "views", "carts"], "knn"
        )
        table["order_mean"] = alike["order_mean"]
        told += filled[:1]
    elif table["order_mean"].notna().any():
        table, filled = fill_missing(table, ["order_mean"])
        told += filled
    words, names = one_hot([each if each == each else None for each in table["income_band"]])
    for place, name in enumerate(names):
        table[f"income_{name}"] = words[:, place]
    known = int(table["income_band"].notna().sum())
    told.append(
        Cleaned("one-hot income_band", len(table), known, len(names), "columns of 0 and 1 made")
    )
    return table.drop(columns="income_band"), told


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
