"""Try ways to recommend against popularity, and make the lists of the best for the stream."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

import msgspec
import numpy as np

from jobs.analytics.history import clean_day, read_day
from jobs.analytics.judging import Judged, offline_test
from jobs.analytics.recommend import (
    by_factors,
    by_items,
    by_people,
    content,
    filled_by_content,
    interactions,
    pearson_items,
    popularity,
    top_lists,
)
from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.drawing import COOL, SOFT, chart, figure
from jobs.nightly.people import joined, who_is_whom
from jobs.nightly.stopping import stopping
from schemas.control import ItemList
from schemas.topics import DAY_MS

DAYS: Final = 30
LIST: Final = "also-liked"
LENGTH: Final = 12
"""Items of a list; a slot shows up to 20 and leaves out what was bought."""
COLD: Final = 5
"""Fewer customers than this, and an item is known by its content alone."""
CHUNK: Final = 2_048
PICKS: Final = 1_024
"""Characters that the trait may have."""


def run(context: Context) -> StepReport:
    """Write the lists of items as control records and each customer's picks among the tags.

    Raises:
        StepStopped: too little happened to judge by.
    """
    events = _events(context)
    with stopping():
        judged, customers = offline_test(events, seed=context.seed)
        found = interactions(events)
    base, *ways = judged
    best = max(ways, key=lambda each: each.ndcg)
    wins = best.ndcg > base.ndcg
    matrix = found.matrix
    likeness = pearson_items(matrix)
    about = events.dropna(subset=["item_id"]).groupby("item_id")
    kinds = about["item_category"].last().reindex(found.items)
    prices = about["price"].median().reindex(found.items)
    touched = np.diff(matrix.tocsc().indptr)
    alike = content([None if each != each else each for each in kinds], prices)
    whole = filled_by_content(likeness, alike, touched, COLD)
    end_ms = (context.day.toordinal() - 719_163 + 1) * DAY_MS
    items = found.items
    lists = [ItemList(LIST, tuple(items[at] for at in np.argsort(-touched, kind="stable")[:LENGTH]),
                      "", end_ms)]  # fmt: skip
    for row, name in enumerate(items):
        part = slice(whole.indptr[row], whole.indptr[row + 1])
        order = np.lexsort((whole.indices[part], -whole.data[part]))[:LENGTH]
        if len(order):
            own = tuple(items[at] for at in whole.indices[part][order])
            lists.append(ItemList(LIST, own, name, end_ms))
    context.output("control.jsonl").write_bytes(
        b"".join(msgspec.json.encode(each) + b"\n" for each in lists)
    )
    picked = _picks(context, found, best.name if wins else base.name, whole)
    picked.to_parquet(context.output("tags.parquet"), index=False)
    return StepReport(
        "Recommendations",
        facts=(
            Fact("judged by", customers, "customers, by what they did next"),
            Fact("picks are made by", best.name if wins else base.name),
            Fact("lists of items", len(lists)),
            Fact("customers with picks", len(picked)),
            Fact("items known by content alone", int((touched < COLD).sum())),
        ),
        tables=(
            Table(
                "The last fifth of the time, foreseen from the rest",
                ("way", "recall@10", "NDCG@10", "coverage", "novelty, bits"),
                tuple(
                    (e.name, *(round(x, 4) for x in (e.recall, e.ndcg, e.coverage, e.novelty)))
                    for e in judged
                ),
            ),
        ),
        charts=(_chart(judged),),
        warnings=() if wins else ("no way beats popularity; the picks are what is popular",),
    )


def _events(context: Context) -> Any:
    import pandas as pd

    files = context.table("events", DAYS)
    if not files:
        raise StepStopped(f"no events up to {context.day} in {context.archive_dir}; archive first")
    parts = []
    known = who_is_whom(context)
    with stopping():
        for name, paths in groupby(files, lambda path: path.parent.name):
            day = joined(clean_day(read_day(paths), name[4:])[0], known)
            columns = ["user_id", "item_id", "item_category", "price", "action", "ts"]
            day = day.loc[day["item_id"].notna(), columns]
            parts.append(day.astype({"item_category": "category", "action": "category"}))
    whole = pd.concat(parts, ignore_index=True)
    return whole.astype({"item_category": object, "action": object})


def _picks(context: Context, found: Any, way: str, likeness: Any) -> Any:
    """The first items for each customer, in parts, so that memory does not hold all scores."""
    import pandas as pd

    matrix, words = found.matrix, []
    everybody = np.arange(matrix.shape[0])
    factors = None
    for at in context.track(range(0, len(everybody), CHUNK), "picks"):
        rows = everybody[at : at + CHUNK]
        if way.startswith("people"):
            scores = by_people(matrix, rows)
        elif way.startswith("items"):
            scores = by_items(matrix, likeness, rows)
        elif way.startswith("factors"):
            factors = factors or by_factors(matrix, seed=context.seed)
            scores = factors(rows)
        else:
            scores = popularity(matrix, rows)
        for places in top_lists(scores, matrix[rows], LENGTH):
            words.append(" ".join(found.items[each] for each in places if each >= 0)[:PICKS])
    table = pd.DataFrame({"user_id": found.users, "picks": words})
    return table[table["picks"] != ""]


def _chart(judged: list[Judged]) -> Any:
    drawn, axes = figure(6.0, 2.6)
    names = [each.name for each in judged][::-1]
    colours = [COOL] * (len(judged) - 1) + [SOFT]
    axes.barh(names, [each.ndcg for each in judged][::-1], color=colours)
    axes.set_xlabel("NDCG@10")
    return chart("Ways to recommend", drawn, "popularity is what they must beat")
