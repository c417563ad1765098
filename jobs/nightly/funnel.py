"""Follow what was viewed into the cart and to the payment, by segment."""

from __future__ import annotations

from jobs.analytics.funnel import funnels
from jobs.nightly.base import Chart, Fact, StepReport, Table
from jobs.nightly.context import Context
from jobs.nightly.drawing import COOL, INK, WARM, chart, figure
from jobs.nightly.stopping import stopping


def run(context: Context) -> StepReport:
    """Write ``funnel.parquet``.

    Raises:
        StepStopped: nobody viewed anything.
    """
    import pandas as pd

    customers = pd.read_parquet(context.result("customers", "customers.parquet"))
    segments = pd.read_parquet(context.result("segments", "segments.parquet"))["segment"]
    with stopping():
        found = funnels(customers, segments)
    rows = tuple(
        (
            each.segment,
            each.customers,
            each.viewed,
            each.carted,
            each.paid,
            round(each.cart_drop, 4),
            round(each.pay_drop, 4),
            round(each.conversion, 4),
        )
        for each in found
    )
    columns = ("segment", "customers", "viewed", "in cart", "paid", "lost before the cart",
               "lost before payment", "viewed that was paid")  # fmt: skip
    pd.DataFrame(rows, columns=list(columns)).to_parquet(context.output("funnel.parquet"))
    drawn, axes = figure(7.0, 0.6 + 0.5 * len(found))
    names = [each.segment for each in found][::-1]
    for label, colour, share in (
        ("viewed", COOL, [1.0] * len(found)),
        ("in cart", WARM, [1 - each.cart_drop for each in found][::-1]),
        ("paid", INK, [each.conversion for each in found][::-1]),
    ):
        axes.barh(names, share, color=colour, label=label)
    axes.set_xlabel("share of the items viewed")
    axes.legend(fontsize=7)
    picture: Chart = chart("View, cart, payment", drawn, "on one day, in this order of time")
    worst = max(found[1:], key=lambda each: each.pay_drop, default=found[0])
    return StepReport(
        "Funnel",
        facts=(
            Fact("viewed that was paid", f"{found[0].conversion:.2%}", "everybody"),
            Fact("loses most before payment", worst.segment, f"{worst.pay_drop:.1%}"),
        ),
        tables=(Table("By segment", columns, rows),),
        charts=(picture,),
    )
