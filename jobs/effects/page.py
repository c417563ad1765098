"""The report as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from jobs.demo.charts import bars, lines, spans
from jobs.effects.report import (
    ARM_HEAD,
    Campaigned,
    Compared,
    Line,
    arm_figures,
    difference_sentences,
    mismatch_sentence,
    sentences,
    title_of,
)
from jobs.words import moment

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1360px; color: #1b1f24;
  padding: 0 1rem; overflow-wrap: break-word }
main { display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr)) }
figure { min-width: 0; margin: 0; border: 1px solid #ddd; border-radius: 8px; padding: 1rem }
figcaption { font-weight: 600; margin-bottom: .5rem }
svg { width: 100%; height: auto }
svg text { font: 11px system-ui, sans-serif; fill: #444 }
table { border-collapse: collapse; width: 100% } td, th { padding: .2rem .6rem; text-align: right }
td:first-child, th:first-child { text-align: left } tr + tr { border-top: 1px solid #eee }
.wrong { color: #b91c1c; font-weight: 600 }
"""
_HEAD = (
    "sent", "held out", "click-through", "conversion", "cost", "revenue", "margin", "ROI",
    "unsubscribed", "complained",
)  # fmt: skip


def page(found: Iterable[Campaigned], compared: Iterable[Compared] = ()) -> str:
    """A section for each campaign: a table, its lift and gap in words, and charts by hour.

    Then one for each experiment: its variants, and each difference as a bar with its interval.
    """
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Beckon: effect</title>"
        f"<style>{_STYLE}</style><h1>What campaigns brought</h1>"
        f"{''.join(map(section, found))}{''.join(map(_experiment, compared))}</html>"
    )


def section(each: Campaigned) -> str:
    """A campaign: a table, its lift and gap in words, and charts by hour."""
    rows = "".join(map(_row, (each.whole, *each.channels, *each.segments)))
    head = "".join(f"<th>{name}" for name in ("", *_HEAD))
    words = "".join(f"<li>{escape(sentence)}" for sentence in sentences(each))
    wrong = (
        "<p class='wrong'>The groups are not of the sizes they should be: no comparison of them "
        "can be believed.</p>"
        if each.mismatched
        else ""
    )
    return (
        f"<h2>{escape(title_of(each))}</h2>{wrong}{_table(head, rows)}"
        f"<ul>{words}</ul><main>{''.join(_charts(each))}</main>"
    )


def _table(head: str, rows: str) -> str:
    """A table that scrolls where the page is narrow."""
    return f"<div style='overflow-x: auto'><table><tr>{head}{rows}</table></div>"


def _experiment(each: Compared) -> str:
    rows = "".join(
        f"<tr><td>{escape(arm.name)}" + "".join(f"<td>{cell}" for cell in arm_figures(arm))
        for arm in each.variants
    )
    head = "".join(f"<th>{name}" for name in ("variant", *ARM_HEAD))
    wrong = f"<p class='wrong'>{escape(mismatch_sentence(each))}</p>" if each.mismatched else ""
    words = "".join(f"<li>{escape(sentence)}" for sentence in difference_sentences(each))
    return (
        f"<h2>Experiment {escape(each.experiment_id)}</h2>"
        f"<p>On {escape(', '.join(each.campaigns))}, since {moment(each.since_ms)}.</p>{wrong}"
        f"{_table(head, rows)}<ul>{words}</ul><main>{''.join(_intervals(each))}</main>"
    )


def _intervals(each: Compared) -> Iterator[str]:
    """A drawing for each metric: the differences to the control, in parts of its mean."""
    metrics = {lift.metric: None for arm in each.variants for lift in arm.lifts}
    for metric in metrics:
        rows = [
            (
                f"{arm.name}{f' in {segment}' if segment else ''}",
                lift.low / lift.control,
                lift.difference / lift.control,
                lift.high / lift.control,
            )
            for arm in each.variants[1:]
            for segment, lifts in {"": arm.lifts, **arm.segments}.items()
            for lift in lifts
            if lift.metric == metric and lift.control > 0
        ]
        if rows:
            yield spans(f"{metric} a customer, against {each.variants[0].name}", rows)


def _row(line: Line) -> str:
    counted = line.counted
    cells = (
        f"{counted.sends:,}", f"{counted.held_out:,}", f"{line.click_through:.2%}",
        f"{line.conversion:.2%}", f"{counted.cost:,.2f}", f"{counted.revenue:,.2f}",
        f"{counted.margin:,.2f}", f"{line.roi:,.2f}", f"{line.unsubscribe_ratio:.2%}",
        f"{line.complaint_ratio:.2%}",
    )  # fmt: skip
    return f"<tr><td>{escape(line.of)}" + "".join(f"<td>{cell}" for cell in cells)


def _charts(each: Campaigned) -> list[str]:
    hours = each.hours
    if not hours:
        return []
    at_ms = [float(line.of) for line in hours]
    found = [
        lines(
            "Money by hour",
            "",
            {
                name: [(at, getattr(h.counted, name)) for at, h in zip(at_ms, hours, strict=True)]
                for name in ("revenue", "cost")
            },
            _hour,
        ),
        lines(
            "Click-through by hour",
            "%",
            {"clicked": [(at, h.click_through) for at, h in zip(at_ms, hours, strict=True)]},
            _hour,
        ),
    ]
    gaps = [(at, line.gap) for at, line in zip(at_ms, hours, strict=True) if line.gap is not None]
    if gaps:
        found.append(
            lines(
                f"{gaps[0][1].metric}: due and reached",
                "",
                {
                    "due": [(at, gap.due) for at, gap in gaps],
                    "reached": [(at, gap.reached) for at, gap in gaps],
                },
                _hour,
            )
        )
    if each.channels:
        found.append(
            bars(
                "Click-through of each channel",
                [(line.of, line.click_through, each.whole.click_through) for line in each.channels],
                "clicks per message",
                "that of all",
                "all",
            )
        )
    return found


def _hour(at_ms: float) -> str:
    return moment(int(at_ms))
