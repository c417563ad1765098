"""Group the buyers by recency, frequency, money and expected value; name and tag the groups."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np

from jobs.analytics.clv import fit_frequency, fit_order_value, lifetime_value
from jobs.analytics.history import buyers
from jobs.analytics.segments import (
    AXES,
    Choice,
    Grouping,
    agreement,
    choose_k,
    difference,
    group,
    standardised,
)
from jobs.nightly.base import Cell, Chart, Fact, StepReport, Table
from jobs.nightly.context import Context
from jobs.nightly.drawing import COOL, INK, WARM, chart, figure
from jobs.nightly.stopping import stopping
from schemas.control import Segmentation, SegmentCentre
from schemas.topics import DAY_MS

HORIZON_DAYS: Final = 90
GROUPING: Final = "grouping.json"
DRAWN: Final = 3_000


def run(context: Context) -> StepReport:
    """Write ``segments.parquet``, the tags, and the centres for the stream.

    Raises:
        StepStopped: too few came back to learn of, or all are alike.
    """
    import pandas as pd

    customers = pd.read_parquet(context.result("customers", "customers.parquet"))
    end_ms = (context.day.toordinal() - 719_163 + 1) * DAY_MS
    path = context.before("segments", GROUPING)
    before = None if path is None else msgspec.json.decode(path.read_bytes(), type=Grouping)
    with stopping():
        table = buyers(customers, end_ms)
        frequency = fit_frequency(table["repeats"], table["last"], table["age"])
        value = fit_order_value(table["order_days"], table["order_mean"])
        table["clv"] = lifetime_value(
            frequency,
            value,
            HORIZON_DAYS,
            repeats=table["repeats"],
            last=table["last"],
            age=table["age"],
            orders=table["order_days"],
            mean=table["order_mean"],
        )
        rows = table[list(AXES)].to_numpy(dtype=float)
        points, _, _ = standardised(rows)
        choice = choose_k(points, seed=context.seed)
        grouping, labels = group(rows, choice.k, before=before, seed=context.seed)
        apart = difference(table["clv"], labels)
    names = np.array([each.name for each in grouping.groups])
    table["segment"] = names[labels]
    table[["segment", "clv", *AXES[:3]]].to_parquet(context.output("segments.parquet"))
    tags = table[["segment", "clv"]].reset_index()
    tags.to_parquet(context.output("tags.parquet"), index=False)
    context.output(GROUPING).write_bytes(msgspec.json.encode(grouping))
    record = for_the_stream(grouping, end_ms)
    context.output("control.jsonl").write_bytes(msgspec.json.encode(record) + b"\n")
    same = np.mean(_nearest_of_three(grouping, rows) == labels)
    return StepReport(
        "Segments",
        facts=(
            Fact("segments", choice.k, f"the elbow is at {choice.elbow}"),
            Fact("buyers", len(table)),
            Fact("expected of all in 90 days", round(float(table["clv"].sum()), 2), "money"),
            Fact("ANOVA of that value over segments", f"F {apart.f:,.1f}, p {apart.p:.2g}"),
            Fact("by ranks (Kruskal-Wallis)", f"H {apart.h:,.1f}, p {apart.p_ranks:.2g}"),
            Fact(
                "Ward's clustering agrees",
                round(agreement(points, labels, choice.k, context.seed), 3),
                "adjusted Rand index; 1 is the same groups",
            ),
            Fact("the stream would say the same", round(float(same), 3), "without expected value"),
            Fact("names kept from the night before", _kept(grouping, before)),
        ),
        tables=(_table(table, grouping),),
        charts=(_elbow(choice), _drawn(table, grouping, context.seed)),
    )


def for_the_stream(grouping: Grouping, updated_ms: int) -> Segmentation:
    """The centres on the axes that the stream knows of each customer."""
    return Segmentation(
        "main",
        ("recency_days", "orders", "money"),
        grouping.mean[:3],
        grouping.deviation[:3],
        tuple(SegmentCentre(each.name, each.centre[:3]) for each in grouping.groups),
        updated_ms,
    )


def _nearest_of_three(grouping: Grouping, rows: Any) -> Any:
    centres = grouping.scaled([each.centre for each in grouping.groups])[:, :3]
    points = grouping.scaled(rows)[:, :3]
    return ((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2).argmin(axis=1)


def _kept(grouping: Grouping, before: Grouping | None) -> str:
    if before is None:
        return "there was none"
    then = {each.name for each in before.groups}
    return f"{sum(each.name in then for each in grouping.groups)} of {len(grouping.groups)}"


def _table(table: Any, grouping: Grouping) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for each in grouping.groups:
        own = table[table["segment"] == each.name]
        rows.append(
            (
                each.name,
                each.customers,
                *(round(float(own[axis].median()), 1) for axis in AXES),
                each.meaning,
                each.strategy,
            )
        )
    columns = ("segment", "customers", "days since", "orders", "money", "90 days' value")
    return Table("Who they are", (*columns, "they", "do"), tuple(rows), "the middle customer's")


def _elbow(choice: Choice) -> Chart:
    drawn, axes = figure()
    axes.plot(choice.tried, choice.wcss, "o-", color=COOL)
    axes.set_yscale("log")
    axes.axvline(choice.k, color=WARM, linewidth=1)
    axes.set_xlabel("groups")
    axes.set_ylabel("within-group squares")
    right = axes.twinx()
    right.plot(choice.tried[1:], choice.silhouettes[1:], "s--", color=INK, linewidth=0.8)
    right.set_ylabel("silhouette (dashed)")
    return chart("How many groups", drawn, f"{choice.k} were taken; the elbow is {choice.elbow}")


def _drawn(table: Any, grouping: Grouping, seed: int) -> Chart:
    drawn, axes = figure(7.0, 4.2)
    shown = table.sample(min(DRAWN, len(table)), random_state=seed)
    for each in grouping.groups:
        own = shown[shown["segment"] == each.name]
        axes.scatter(
            own["recency_days"] + 0.1, own["money"] + 1, s=6, alpha=0.5, label=each.name,
            rasterized=False,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("days since the last purchase")
    axes.set_ylabel("money spent")
    axes.legend(fontsize=7, markerscale=2)
    return chart("The segments", drawn, "each dot a customer; a sample")
