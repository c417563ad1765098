"""Bind what all steps have to tell into one page that needs nothing from outside."""

from __future__ import annotations

from html import escape
from typing import Final

from jobs.nightly.base import Cell, Chart, Fact, Manifest, StepReport, Table
from jobs.nightly.context import Context

PAGE: Final = "report.html"
_ROWS: Final = 200
_OPEN: Final = 9
"""Rows up to which a table is shown at once; a longer one is unfolded by who wants it."""

_FOLDED: Final = ("Model card",)

_STYLE: Final = """
:root { --ink: #1f2933; --soft: #616e7c; --line: #e4e7eb; --warm: #b7410e; --good: #276749;
        --cool: #2b6cb0; --page: #f5f7fa; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; }
body { margin: 0; color: var(--ink); font: 15px/1.5 system-ui, sans-serif; background: var(--page);
       display: grid; grid-template-columns: 15rem minmax(0, 1fr); }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 1.6rem 1.2rem;
      background: #1f2933; color: #cbd2d9; font-size: .87rem; }
nav b { display: block; color: #fff; font-size: 1.05rem; margin-bottom: 1rem; }
nav a { display: flex; gap: .6rem; align-items: center; padding: .22rem 0; color: inherit;
        text-decoration: none; }
nav a:hover { color: #fff; }
nav i { flex: none; width: .55rem; height: .55rem; border-radius: 50%; background: #48bb78; }
nav i.warned { background: #ecc94b; } nav i.stopped { background: #f56565; }
main { padding: 2rem clamp(1rem, 3vw, 3rem) 6rem; max-width: 82rem; }
h1 { margin: 0 0 .4rem; font-size: 1.9rem; } h2 { margin: 0 0 .8rem; font-size: 1.25rem; }
h3 { margin: 1.3rem 0 .3rem; font-size: .95rem; } p { margin: .3rem 0; color: var(--soft); }
section, .tile { background: #fff; border: 1px solid var(--line); border-radius: .6rem; }
section { padding: 1.4rem 1.6rem; margin-top: 1.4rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .9rem;
         margin: 1.2rem 0; }
.tile { padding: .9rem 1.1rem; } .tile b { display: block; font-size: 1.55rem; line-height: 1.2; }
.tile span { color: var(--soft); font-size: .83rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; margin: .3rem 0 .8rem; }
th { color: var(--soft); font-weight: 600; }
th, td { padding: .3rem 1.1rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left;
         vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.bar { width: 16rem; } td.bar i { display: block; height: .7rem; border-radius: .2rem;
         background: var(--cool); min-width: 1px; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: .8rem 2rem;
     margin: 0 0 .6rem; }
dt { color: var(--soft); font-size: .83rem; }
dd { margin: 0; font-size: 1.05rem; font-weight: 600; overflow-wrap: anywhere; }
dd small { display: block; color: var(--soft); font-weight: 400; font-size: .8rem; }
details { border-top: 1px solid var(--line); padding: .5rem 0; }
summary { cursor: pointer; font-weight: 600; font-size: .95rem; }
summary span { color: var(--soft); font-weight: 400; }
.warn { border-left: 3px solid var(--warm); padding: .3rem .8rem; color: var(--warm);
        background: #fffaf5; } .warn a { color: inherit; font-weight: 600; }
.done { color: var(--good); } .stopped { color: var(--warm); font-weight: 600; }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem; }
figure { margin: 0; flex: 1 1 22rem; max-width: 36rem; min-width: 0; }
figure svg { width: 100%; max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .83rem; }
@media (max-width: 60rem) {
  body { display: block; } section { padding: 1rem; }
  nav { position: static; height: auto; columns: 2; } nav b { column-span: all; }
}
@media print { nav { display: none; } body { display: block; background: #fff; } }
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
        _contents(day, parts),
        "<main>",
        f"<h1>The night of {escape(day)}</h1>",
        _morning(parts),
        _models(parts),
        *(_section(name, report, manifest) for name, report, manifest in parts),
        _costs(parts),
        "</main>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Beckon: the night of {escape(day)}</title><style>{_STYLE}</style></head><body>"
        + "\n".join(body)
        + "</body></html>\n"
    )


def _contents(day: str, parts: list[tuple[str, StepReport, Manifest | None]]) -> str:
    """Each step with a light: done, to be looked at, stopped."""
    links = []
    for name, report, manifest in parts:
        light = "warned" if report.warnings else "done"
        if manifest is not None and manifest.status == "stopped":
            light = "stopped"
        links.append(f'<a href="#{escape(name)}"><i class="{light}"></i>{escape(report.title)}</a>')
    return f"<nav><b>Beckon · {escape(day)}</b>{''.join(links)}</nav>"


def _morning(parts: list[tuple[str, StepReport, Manifest | None]]) -> str:
    """What somebody should look at first."""
    warnings = [(name, each) for name, report, _ in parts for each in report.warnings]
    known = [manifest for _, _, manifest in parts if manifest is not None]
    done = sum(each.status == "done" for each in known)
    verdict = next(
        (str(f.value) for n, r, _ in parts if n == "judge" for f in r.facts if f.name == "verdict"),
        "–",
    )
    tiles = [
        (f"{done} of {len(parts)}", "steps done"),
        (str(len(warnings)), "things to look at"),
        (verdict, "tonight's click model, against the one in force"),
        (f"{sum(m.seconds for m in known):,.0f} s", "in all"),
        (f"{max((m.peak_gib for m in known), default=0):.2f} GiB", "of memory, at most"),
    ]
    shown = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>'
        for value, what in tiles
    )
    told = "".join(
        f'<p class="warn"><a href="#{escape(name)}">{escape(name)}</a>: {escape(each)}</p>'
        for name, each in warnings
    )
    return f'<div class="tiles">{shown}</div>' + (
        told or '<p class="done">Every step is done, and none has a warning.</p>'
    )


def _models(parts: list[tuple[str, StepReport, Manifest | None]]) -> str:
    """All models of the night in one table: what each promises, beside its baseline."""
    rows: list[tuple[Cell, ...]] = []
    for _, report, _ in parts:
        for fact in report.facts:
            if fact.name != "version" and not fact.name.endswith(": version"):
                continue
            stem = fact.name.removesuffix("version")
            own = {f.name.removeprefix(stem): f for f in report.facts if f.name.startswith(stem)}
            ranked = own.get("AUC") or own.get("concordance")
            loss, off = own.get("log loss"), own.get("calibration error")
            if ranked is None or loss is None or off is None:
                continue
            rows.append((fact.value, ranked.value, loss.value, loss.note, off.value))
    columns = ("model", "AUC or concordance", "log loss", "it must beat", "calibration error")
    if not rows:
        return ""
    note = "with 95 % intervals, on the newest rows, which trained none of them"
    shown = _table(Table("Tonight", columns, tuple(rows), note))
    return f"<section><h2>The models</h2>{shown}</section>"


def _costs(parts: list[tuple[str, StepReport, Manifest | None]]) -> str:
    known = [manifest for _, _, manifest in parts if manifest is not None]
    if not known:
        return ""
    longest = max(max(m.seconds for m in known), 1e-9)
    rows = "".join(
        f'<tr><td>{escape(m.step)}</td><td class="{m.status}">{m.status}</td>'
        f'<td class="n">{m.seconds:,.1f}</td>'
        f'<td class="bar"><i style="width:{100 * m.seconds / longest:.1f}%"></i></td>'
        f'<td class="n">{m.peak_gib:.2f}</td>'
        f'<td class="n">{sum(s.size_bytes for s in m.reads) / 2**20:,.1f}</td>'
        f"<td>{escape(', '.join(m.writes))}</td></tr>"
        for m in known
    )
    return (
        f"<section><h2>What it cost</h2><p>{sum(m.seconds for m in known):,.1f} s in all, at most "
        f"{max(m.peak_gib for m in known):.2f} GiB of memory</p>"
        '<div class="wide"><table><tr><th>step</th><th>end</th><th class="n">seconds</th><th></th>'
        '<th class="n">GiB</th><th class="n">MiB read</th><th>wrote</th></tr>'
        f"{rows}</table></div></section>"
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
    inner = f'{note}<div class="wide"><table><tr>{head}</tr>{rows}</table></div>' + (
        f"<p>and {more:,} more</p>" if more > 0 else ""
    )
    if len(table.rows) <= _OPEN and table.title not in _FOLDED:
        return f"<h3>{escape(table.title)}</h3>{inner}"
    return (
        f"<details><summary>{escape(table.title)} <span>{len(table.rows):,} rows</span></summary>"
        f"{inner}</details>"
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
