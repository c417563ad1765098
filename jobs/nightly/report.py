"""Bind what all steps have to tell into one page that needs nothing from outside."""

from __future__ import annotations

from html import escape
from typing import Final

from jobs.nightly.base import Cell, Chart, Fact, Manifest, StepReport, Table
from jobs.nightly.context import Context

PAGE: Final = "report.html"
_ROWS: Final = 200

_STYLE: Final = """
:root { --ink: #1f2933; --soft: #52606d; --line: #e4e7eb; --warm: #b7410e; --good: #276749; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.5rem 6rem; color: var(--ink);
       font: 15px/1.5 system-ui, sans-serif; background: #fff; }
h1 { margin: 0; font-size: 1.9rem; } h2 { margin: 3rem 0 .5rem; font-size: 1.3rem; }
h3 { margin: 1.5rem 0 .3rem; font-size: 1rem; } p { margin: .3rem 0; color: var(--soft); }
nav a { margin-right: 1rem; color: inherit; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; margin: .3rem 0 .8rem; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left;
         vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .8rem 2rem; }
dt { color: var(--soft); font-size: .83rem; }
dd { margin: 0; font-size: 1.12rem; font-weight: 600; }
dd small { display: block; color: var(--soft); font-weight: 400; font-size: .8rem; }
.warn { border-left: 3px solid var(--warm); padding: .2rem .8rem; color: var(--warm); }
.done { color: var(--good); } .stopped { color: var(--warm); font-weight: 600; }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem; } figure { margin: 0; max-width: 100%; }
figure svg { max-width: 100%; height: auto; } figcaption { color: var(--soft); font-size: .83rem; }
"""


def run(context: Context) -> StepReport:
    """Write ``report.html``."""
    from jobs.nightly import STEPS

    parts = [(name, *context.told(name)) for name in STEPS if name != context.step]
    told = [(name, report, manifest) for name, report, manifest in parts if report is not None]
    written = page(context.day.isoformat(), told)
    context.output(PAGE).write_text(written, encoding="utf-8")
    stopped = [name for name, _, manifest in told if manifest and manifest.status == "stopped"]
    return StepReport(
        "Report",
        facts=(Fact("page", str(context.folder / PAGE)), Fact("steps told of", len(told))),
        warnings=tuple(f"{name} was stopped" for name in stopped),
    )


def page(day: str, parts: list[tuple[str, StepReport, Manifest | None]]) -> str:
    """The page of a night, from what each step told and cost, in their order."""
    body = [
        f"<h1>The night of {escape(day)}</h1>",
        _morning(parts),
        "<nav>"
        + "".join(f'<a href="#{escape(n)}">{escape(r.title)}</a>' for n, r, _ in parts)
        + "</nav>",
        _costs(parts),
        *(_section(name, report, manifest) for name, report, manifest in parts),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Beckon: the night of {escape(day)}</title><style>{_STYLE}</style></head><body>"
        + "\n".join(body)
        + "</body></html>\n"
    )


def _morning(parts: list[tuple[str, StepReport, Manifest | None]]) -> str:
    """What somebody should look at first."""
    warnings = [(name, each) for name, report, _ in parts for each in report.warnings]
    if not warnings:
        return '<p class="done">Every step is done, and none has a warning.</p>'
    return "".join(
        f'<p class="warn"><a href="#{escape(name)}">{escape(name)}</a>: {escape(each)}</p>'
        for name, each in warnings
    )


def _costs(parts: list[tuple[str, StepReport, Manifest | None]]) -> str:
    known = [manifest for _, _, manifest in parts if manifest is not None]
    if not known:
        return ""
    rows = "".join(
        f'<tr><td>{escape(m.step)}</td><td class="{m.status}">{m.status}</td>'
        f'<td class="n">{m.seconds:,.1f}</td><td class="n">{m.peak_gib:.2f}</td>'
        f'<td class="n">{sum(s.size_bytes for s in m.reads) / 2**20:,.1f}</td>'
        f"<td>{escape(', '.join(m.writes))}</td></tr>"
        for m in known
    )
    return (
        f"<h2>What it cost</h2><p>{sum(m.seconds for m in known):,.1f} s in all, at most "
        f"{max(m.peak_gib for m in known):.2f} GiB of memory</p>"
        '<div class="wide"><table><tr><th>step</th><th>end</th><th class="n">seconds</th>'
        '<th class="n">GiB</th><th class="n">MiB read</th><th>wrote</th></tr>'
        f"{rows}</table></div>"
    )


def _section(name: str, report: StepReport, manifest: Manifest | None) -> str:
    reason = "" if manifest is None or not manifest.reason else manifest.reason
    facts = "".join(
        f"<div><dt>{escape(f.name)}</dt><dd>{_cell(f.value)}"
        + (f"<small>{escape(f.note)}</small>" if f.note else "")
        + "</dd></div>"
        for f in report.facts
    )
    return "\n".join(
        [
            f'<section id="{escape(name)}"><h2>{escape(report.title)}</h2>',
            f'<p class="warn">Stopped: {escape(reason)}</p>' if reason else "",
            f"<dl>{facts}</dl>" if facts else "",
            '<div class="charts">' + "".join(map(_chart, report.charts)) + "</div>",
            *map(_table, report.tables),
            "</section>",
        ]
    )


def _chart(chart: Chart) -> str:
    return (
        f'<figure role="img" aria-label="{escape(chart.title)}"><h3>{escape(chart.title)}</h3>'
        f"{chart.svg}<figcaption>{escape(chart.note)}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    numeric = [
        any(isinstance(row[at], int | float) for row in table.rows)
        for at in range(len(table.columns))
    ]
    head = "".join(
        f"<th{' class=n' if n else ''}>{escape(name)}</th>"
        for name, n in zip(table.columns, numeric, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=n' if n else ''}>{_cell(value)}</td>"
            for value, n in zip(row, numeric, strict=True)
        )
        + "</tr>"
        for row in table.rows[:_ROWS]
    )
    more = len(table.rows) - _ROWS
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    return (
        f'<h3>{escape(table.title)}</h3>{note}<div class="wide"><table><tr>{head}</tr>{rows}'
        "</table></div>" + (f"<p>and {more:,} more</p>" if more > 0 else "")
    )


def _cell(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    return escape(value)
