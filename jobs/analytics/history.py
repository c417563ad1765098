"""One row for each customer, from the archive's days: read one day at a time, so that memory holds
the customers and one day, however many days there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from jobs.analytics.cleaning import Cleaned, drop_exact_duplicates, drop_near_duplicates
from schemas.errors import UserMistake
from schemas.event import TAGS
from schemas.topics import DAY_MS

Frame = Any

COLUMNS: Final = (
    "event_id", "user_id", "action", "ts", "item_id", "item_category", "price", "quantity",
)  # fmt: skip
"""What is read of an event."""

SUMS: Final = ("events", "views", "carts", "orders", "order_days", "money", "seen", "kept", "paid")
FIRSTS: Final = ("first_ms", "first_order_ms")
LASTS: Final = ("last_ms", "last_order_ms")


def clean_day(events: Frame, day: str) -> tuple[Frame, list[Cleaned]]:
    """A day's events without duplicates and without what the night itself wrote.

    Raises:
        UserMistake: a column is missing, a time is no time, or prices are below 0.
    """
    missing = [name for name in COLUMNS if name not in events]
    if missing:
        raise UserMistake(f"day {day}: no column {', '.join(missing)}; archive that day again")
    if not len(events):
        raise UserMistake(f"day {day}: no events at all; is the archiver running?")
    if events["ts"].dtype.kind not in "iu" or (events["ts"] <= 0).any():
        raise UserMistake(f"day {day}: ts holds {events['ts'].dtype}, not times in ms since 1970")
    price = events["price"]
    if price.dtype.kind == "O" or (price < 0).any():
        raise UserMistake(f"day {day}: price holds what is no amount of money")
    events = events[events["action"] != TAGS]
    events, exact = drop_exact_duplicates(events, ("user_id", "event_id"))
    events, near = drop_near_duplicates(events)
    return events, [exact, near]


def of_day(events: Frame) -> Frame:
    """One row for each customer of a day; ``seen``, ``kept`` and ``paid`` count items viewed, then
    put into the cart, then bought, in this order of time.
    """
    import pandas as pd

    action, user = events["action"], events["user_id"]
    bought = action == "purchase"
    amount = events["price"].fillna(0.0) * events["quantity"].fillna(1.0)
    parts = pd.DataFrame(
        {
            "user_id": user,
            "ts": events["ts"],
            "view": (action == "view").astype(np.int64),
            "cart": (action == "cart").astype(np.int64),
            "order": bought.astype(np.int64),
            "money": amount.where(bought, 0.0),
            "order_ms": events["ts"].where(bought).astype(float),
        }
    )
    grouped = parts.groupby("user_id", sort=True)
    table = pd.DataFrame(
        {
            "events": grouped.size(),
            "views": grouped["view"].sum(),
            "carts": grouped["cart"].sum(),
            "orders": grouped["order"].sum(),
            "money": grouped["money"].sum(),
            "first_ms": grouped["ts"].min(),
            "last_ms": grouped["ts"].max(),
            "first_order_ms": grouped["order_ms"].min(),
            "last_order_ms": grouped["order_ms"].max(),
        }
    )
    table["order_days"] = (table["orders"] > 0).astype(np.int64)
    steps = funnel_of(events).reindex(table.index).fillna(0).astype(np.int64)
    return table.join(steps)


def funnel_of(events: Frame) -> Frame:
    """By customer: items viewed, viewed and then put into the cart, and of these then bought."""
    import pandas as pd

    wanted = events[events["item_id"].notna() & events["action"].isin(("view", "cart", "purchase"))]
    first = wanted.groupby(["user_id", "item_id", "action"])["ts"].min().unstack("action")
    first = first.reindex(columns=["view", "cart", "purchase"])
    seen = first["view"].notna()
    kept = seen & (first["cart"] >= first["view"])
    paid = kept & (first["purchase"] >= first["cart"])
    steps = pd.DataFrame({"seen": seen, "kept": kept, "paid": paid})
    return steps.groupby(level="user_id").sum()


def merged(days: Iterable[Frame]) -> Frame:
    """The customers of several days: sums add up, firsts and lasts are the least and the most."""
    import pandas as pd

    whole = None
    for day in days:
        if whole is None:
            whole = day
            continue
        both = pd.concat([whole, day])
        how = (
            dict.fromkeys(SUMS, "sum") | dict.fromkeys(FIRSTS, "min") | dict.fromkeys(LASTS, "max")
        )
        whole = both.groupby(level="user_id", sort=True).agg(how)
    if whole is None:
        raise UserMistake("no day of events at all: archive the stream first")
    return whole[[*SUMS, *FIRSTS, *LASTS]]


def buyers(customers: Frame, now_ms: int) -> Frame:
    """Who bought, with what BG/NBD and the segments look at; days are of 24 hours.

    Raises:
        UserMistake: a purchase lies after ``now_ms``.
    """
    table = customers[customers["orders"] > 0].copy()
    if len(table) and table["last_order_ms"].max() > now_ms:
        raise UserMistake("a purchase lies after the night's day: did a clock run ahead?")
    table["recency_days"] = (now_ms - table["last_order_ms"]) / DAY_MS
    table["repeats"] = table["order_days"] - 1
    table["last"] = (table["last_order_ms"] - table["first_order_ms"]) / DAY_MS
    table["age"] = (now_ms - table["first_order_ms"]) / DAY_MS
    table["order_mean"] = table["money"] / table["order_days"]
    return table


def read_day(paths: Iterable[Any]) -> Frame:
    """The events of one day's files.

    Raises:
        UserMistake: a file is broken, or lacks a column.
    """
    import pandas as pd
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    parts = []
    for path in paths:
        try:
            file = ParquetFile(path)
            missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise UserMistake(f"{path} has no column {', '.join(missing)}; archive it again")
            parts.append(file.read(columns=list(COLUMNS)).to_pandas())
        except (ArrowException, OSError) as error:
            raise UserMistake(
                f"{path} is not a whole Parquet file ({error}); archive that day again"
            ) from error
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
