"""Split tomorrow's money over campaigns and channels by the margin that spending brought before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import msgspec
import numpy as np

from jobs.analytics.budget import Bounds, Line, Response, learn_response, pieces, split
from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.drawing import COOL, WARM, chart, figure
from jobs.nightly.people import EVER
from jobs.nightly.quality import admit
from jobs.nightly.stopping import stopping
from schemas.control import Campaign, Pacing
from schemas.errors import InvalidRecord, UserMistake
from schemas.pricing import Pricing
from schemas.topics import DAY_MS
from schemas.wire import decode_control

DAYS: Final = 30
LATEST: Final = 7
CEILING: Final = 2.0
"""Times the most spent on a day: further out nothing was learned."""
FLOOR: Final = 0.2
"""Part of the mean of the latest days that each keeps, so that it goes on being learned."""
CHANNEL_CEILING: Final = 1.5
"""Times the most that all campaigns together spent on a channel on a day."""
DOCUMENTS: Final = (
    ("feed", 50, 3.2, 10_000, 2_000),
    ("search", 80, 4.5, 6_000, 1_500),
    ("short video", 30, 2.8, 15_000, 3_000),
)
"""Channel, unit cost, what a unit brings, ceiling, least."""
DOCUMENTS_MONEY: Final = 1_130_000.0

_MICROS: Final = 1e6


def run(context: Context) -> StepReport:
    """Write the plan and its prices as a control record.

    The money is the mean of what the latest days spent.

    Raises:
        StepStopped: no decision cost anything, or too few days did.
    """
    if context.table("decisions", 1):
        admit(context, "decisions")
    spent, brought = _days(context)
    if spent.empty:
        return StepReport(
            "Money for tomorrow",
            tables=(_documents(),),
            warnings=(f"no decision up to {context.day} cost anything: there is nothing to split",),
        )
    lines, responses, left_out = [], {}, []
    for key in spent.columns:
        try:
            response = learn_response(spent[key], brought[key])
        except UserMistake as mistake:
            left_out.append((*key, str(mistake)))
            continue
        ceiling = CEILING * float(spent[key].max())
        least = FLOOR * float(spent[key].tail(LATEST).mean())
        lines.append(Line(key[0], key[1], pieces(response, ceiling), min(least, ceiling)))
        responses[key] = response
    if not lines:
        raise StepStopped(f"no campaign has a response to learn: {left_out[0][-1]}")
    budget = float(spent[[(x.campaign, x.channel) for x in lines]].sum(axis=1).tail(LATEST).mean())
    channels = {
        name: Bounds(
            most=CHANNEL_CEILING * float(spent.xs(name, axis=1, level=1).sum(axis=1).max())
        )
        for name in sorted({line.channel for line in lines})
    }
    with stopping():
        plan = split(lines, budget, channels)
    morrow = context.day + timedelta(days=1)
    record = Pacing(
        "main",
        morrow.isoformat(),
        _nested(plan.spend),
        plan.price,
        plan.channel_prices,
        (context.day.toordinal() - 719_163 + 1) * DAY_MS,
    )
    context.output("control.jsonl").write_bytes(msgspec.json.encode(record) + b"\n")
    now = {key: float(spent[key].tail(LATEST).mean()) for key in responses}
    today = sum(responses[key].value(now[key]) for key in responses)
    rows = tuple(
        (*key, round(now[key], 2), round(plan.spend[key], 2), round(response.gain, 3),
         round(response.scale, 3))
        for key, response in responses.items()
    )  # fmt: skip
    return StepReport(
        f"Money for {morrow}",
        facts=(
            Fact("to spend", round(budget, 2), f"the mean of the latest {LATEST} days"),
            Fact("expected margin", round(plan.value, 2), f"{today:,.2f} if split as before"),
            Fact(
                "price of money",
                round(plan.price, 4),
                "margin that one more unit would bring; the stream pays it from 1 on",
            ),
            *(
                Fact(f"price of {name}'s ceiling", round(price, 4))
                for name, price in plan.channel_prices.items()
            ),
        ),
        tables=(
            Table(
                "The split",
                ("campaign", "channel", "a day until now", "tomorrow", "gain", "scale"),
                rows,
                "a sum brings gain × ln(1 + sum / scale)",
            ),
            _documents(),
        ),
        charts=(_chart(responses, plan.spend),),
        warnings=tuple(f"{c} on {ch} is left out: {why}" for c, ch, why in left_out),
    )


def _documents() -> Table:
    """The case that is known by heart, solved by the same programme."""
    lines = [
        Line("case", name, ((cost * most, roi / cost),), cost * least)
        for name, cost, roi, most, least in DOCUMENTS
    ]
    plan = split(lines, DOCUMENTS_MONEY)
    return Table(
        "A case to check it by",
        ("channel", "unit cost", "brings a unit", "least", "ceiling", "units"),
        tuple(
            (name, cost, roi, least, most, round(plan.spend["case", name] / cost, 2))
            for name, cost, roi, most, least in DOCUMENTS
        ),
        f"{DOCUMENTS_MONEY:,.0f} brings {plan.value:,.0f}; the best is 84,125",
    )


def _days(context: Context) -> tuple[Any, Any]:
    """What each campaign and channel spent, and the margin it brought, a row a day.

    Files are read one at a time.
    """
    import pandas as pd
    from pyarrow.parquet import read_table

    spent: list[Any] = []
    for path in context.table("decisions", DAYS):
        columns = ["decision_id", "campaign_id", "channel", "cost_micros", "status"]
        rows = read_table(path, columns=columns, partitioning=None).to_pandas()
        rows = rows[(rows["status"] == "send") & (rows["cost_micros"] > 0)]
        rows = rows.drop_duplicates("decision_id").assign(day=path.parent.name[4:])
        spent.append(rows.groupby(["day", "campaign_id", "channel"])["cost_micros"].sum() / _MICROS)
    brought: list[Any] = []
    for path in context.table("rewards", DAYS):
        columns = ["decision_id", "campaign_id", "channel", "kind", "value", "outcome_id"]
        rows = read_table(path, columns=columns, partitioning=None).to_pandas()
        rows = rows[rows["kind"].isin(("converted", "reversed")) & rows["channel"].notna()]
        rows = rows.drop_duplicates(["decision_id", "kind", "outcome_id"])
        rows = rows.assign(day=path.parent.name[4:])
        brought.append(rows.groupby(["day", "campaign_id", "channel"])["value"].sum())
    if not spent or not sum(map(len, spent)):
        return pd.DataFrame(), pd.DataFrame()
    table = pd.concat(spent).groupby(level=[0, 1, 2]).sum().unstack([1, 2]).fillna(0.0)
    table = table.sort_index().sort_index(axis=1)
    if not brought or not sum(map(len, brought)):
        return table, table * 0.0
    worth = pd.concat(brought).groupby(level=[0, 1, 2]).sum().unstack([1, 2])
    margins = _margin_ratios(context)
    kept = [margins.get(campaign, Pricing().margin_ratio) for campaign, _ in worth.columns]
    worth = worth * kept
    return table, worth.reindex(index=table.index, columns=table.columns).fillna(0.0)


def _margin_ratios(context: Context) -> dict[str, float]:
    """What of an order's value each campaign says that the shop keeps, as last published."""
    from pyarrow.parquet import read_table

    found: dict[str, float] = {}
    for path in context.table("control", EVER):
        rows = read_table(path, columns=["kind", "value"], partitioning=None).to_pydict()
        for kind, value in zip(rows["kind"], rows["value"], strict=True):
            if kind != "campaign" or value is None:
                continue
            try:
                record = decode_control(value)
            except InvalidRecord:
                continue  # which the stream refused, too
            if isinstance(record, Campaign):
                found[record.id] = record.pricing.margin_ratio
    return found


def _nested(spend: dict[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    nested: dict[str, dict[str, float]] = {}
    for (campaign, channel), money in spend.items():
        nested.setdefault(campaign, {})[channel] = money
    return nested


def _chart(responses: dict[tuple[str, str], Response], spend: dict[tuple[str, str], float]) -> Any:
    drawn, axes = figure()
    widest = max(max(spend.values()) * 1.5, 1e-6)
    reach = np.linspace(0, widest, 60)
    for key, response in list(responses.items())[:12]:
        values = [response.value(float(x)) for x in reach]
        axes.plot(reach, values, color=COOL, linewidth=0.9)
        axes.plot(spend[key], response.value(spend[key]), "o", color=WARM, markersize=4)
    axes.set_xlabel("spent on a day")
    axes.set_ylabel("brought")
    return chart("What spending brings", drawn, "dots are the plan")
