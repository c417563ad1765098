"""Whom to speak to before a date: memberships that end, payments that may be overdue."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import numpy as np

from jobs.analytics.dates import OVERDUE_DAYS, WAKE_DAYS, calendar, next_date, payments
from jobs.nightly import told
from jobs.nightly.base import Chart, Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.drawing import COOL, WARM, chart, figure
from jobs.nightly.people import joined, who_is_whom
from jobs.nightly.quality import admit
from jobs.trainers import survival
from schemas.errors import UserMistake
from schemas.topics import DAY_MS

TAGS_FILE: Final = "tags.parquet"
FILE: Final = "dates.parquet"
DAYS: Final = 36_525
AHEAD_DAYS: Final = 60
"""Dates further ahead are left for a later night."""
SHOWN: Final = 30
PAID: Final = ("payment",)
"""Actions that settle a payment, as an overdue campaign's ``settled_by``."""
LEAST_AGAIN: Final = 30
"""Payments by who had paid before, below which nothing is said of who will be late."""
INPUTS: Final = ("payments_log", "late_share")
_COLUMNS: Final = {"member_until_ms": WAKE_DAYS, "payment_due_ms": OVERDUE_DAYS}


def run(context: Context) -> StepReport:
    """Write ``dates.parquet``, and as tags the dates that campaigns of the kinds ``membership`` and
    ``overdue`` wait for.

    Dates that were told only to the archive reach the stream this way. A date that is concluded
    goes to whom agreed to marketing alone.

    Raises:
        StepStopped: the night's events are not fit, or a file cannot be read.
    """
    import pandas as pd

    admit(context, "events")
    now_ms = (context.day.toordinal() - 719_162) * DAY_MS
    dates, paid = _history(context)
    people = told.read(context)
    agreed = set() if people is None else set(people.index[people["marketing"]])
    rows: dict[str, dict[str, int]] = defaultdict(dict)
    concluded = dict.fromkeys(_COLUMNS, 0)
    for name in _COLUMNS:
        for user, known in dates[name].items():
            found = next_date(known, now_ms)
            if found is None or found[0] > now_ms + AHEAD_DAYS * DAY_MS:
                continue
            if found[1] and user not in agreed:
                continue
            rows[user][name] = found[0]
            concluded[name] += found[1]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(_COLUMNS), dtype=float)
    table = table.rename_axis("user_id").sort_index()
    risk, fitted = _late(dates["payment_due_ms"], paid, table, now_ms)
    table.assign(late_risk=risk).to_parquet(context.output(FILE))
    table.reset_index().to_parquet(context.output(TAGS_FILE), index=False)
    plans = {
        name: calendar(table[name].dropna().to_numpy(float), lead, now_ms, SHOWN)
        for name, lead in _COLUMNS.items()
    }
    return StepReport(
        "Before a date",
        facts=(
            Fact("memberships that end", int(table["member_until_ms"].notna().sum()),
                 f"within {AHEAD_DAYS} days; woken {WAKE_DAYS} days before"),
            Fact("payments that will be due", int(table["payment_due_ms"].notna().sum()),
                 f"within {AHEAD_DAYS} days; spoken of {OVERDUE_DAYS} days before"),
            Fact("dates concluded from earlier ones", sum(concluded.values())),
            Fact("likely to be late", int((risk > 0.5).sum()),
                 "of those; by when they paid before" if fitted else "too few payments to tell"),
        ),
        tables=_drivers(fitted),
        charts=(_chart(plans),),
    )  # fmt: skip


def _history(context: Context) -> tuple[dict[str, dict[str, list[int]]], dict[str, list[int]]]:
    """All dates that were ever told of each customer, by kind; and when they paid."""
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    known = who_is_whom(context)
    dates: dict[str, dict[str, list[int]]] = {name: defaultdict(list) for name in _COLUMNS}
    paid: dict[str, list[int]] = defaultdict(list)
    columns = ["user_id", "ts", "action", "source", *(f"traits_{name}" for name in _COLUMNS)]
    for path in context.track(context.table("events", DAYS), "days"):
        try:
            day = read_table(path, columns=columns, partitioning=None).to_pandas()
        except (ArrowException, OSError, KeyError) as error:
            raise StepStopped(f"{path} cannot be read ({error}); archive that day anew") from error
        day = joined(day[day["source"].fillna("") != "night"], known)
        for name in _COLUMNS:
            mine = day[day[f"traits_{name}"].notna()]
            pairs = zip(mine["user_id"], mine[f"traits_{name}"].astype("int64"), strict=True)
            for user, date_ms in pairs:
                dates[name][user].append(int(date_ms))
        settled = day[day["action"].isin(PAID)]
        for user, ts in zip(settled["user_id"], settled["ts"], strict=True):
            paid[user].append(int(ts))
    return dates, paid


def _late(
    due: dict[str, list[int]], paid: dict[str, list[int]], table: Any, now_ms: int
) -> tuple[Any, survival.Cox | None]:
    """How likely each customer's next payment is to come after its day, and what drives paying."""
    import pandas as pd

    risk = np.full(len(table), np.nan)
    rows = [row for user in due for row in payments(due[user], paid.get(user, []), now_ms)]
    if not rows:
        return risk, None
    whole = np.array(rows)
    if int(whole[whole[:, 2] > 0, 1].sum()) < LEAST_AGAIN:
        return risk, None  # a habit of paying shows in who paid before and paid again
    try:
        model = survival.weibull(INPUTS, whole[:, 2:], whole[:, 0], whole[:, 1])
        frame = pd.DataFrame(whole, columns=["days", "paid", *INPUTS])
        drivers = survival.cox(frame.loc[:, frame.std() > 1e-9], "days", "paid")
    except UserMistake:
        return risk, None  # nobody has paid yet, or all at once: the dates stand all the same
    for place, (user, at_ms) in enumerate(table["payment_due_ms"].items()):
        if at_ms != at_ms:
            continue
        own = payments([*due[user], int(at_ms)], paid.get(user, []), int(at_ms) + 1)
        begun = max(0.0, (now_ms - (at_ms - OVERDUE_DAYS * DAY_MS)) / DAY_MS)
        left = (at_ms - now_ms) / DAY_MS
        x = np.array([own[-1][2:]])
        risk[place] = 1 - model.within(x, np.array([begun]), left)[0]
    return risk, drivers


def _drivers(found: survival.Cox | None) -> tuple[Table, ...]:
    if found is None:
        return ()
    return (
        Table("What brings payments in (Cox)",
              ("input", "hazard ratio", "low", "high", "p", "proportional p"),
              tuple((h.name, h.ratio, h.low, h.high, h.p, h.proportional_p)
                    for h in found.hazards),
              f"above 1 they pay sooner; of {found.rows:,} payments {found.events:,} were made, "
              "the others are censored"),
    )  # fmt: skip


def _chart(plans: dict[str, list[int]]) -> Chart:
    drawn, axes = figure()
    for name, colour, label in (
        ("member_until_ms", COOL, "members to wake"),
        ("payment_due_ms", WARM, "payments to speak of"),
    ):
        axes.plot(range(1, SHOWN + 1), plans[name], "o-", color=colour, markersize=3, label=label)
    axes.set_xlabel("days from tonight")
    axes.set_ylabel("customers")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return chart("Who is spoken to when", drawn, "before consent, caps and quiet hours")
