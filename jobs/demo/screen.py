"""The demo's terminal: what is being started, then the stream at work."""

from __future__ import annotations

import time

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from jobs.demo.watch import Sample, Watch
from schemas.deadletter import REASONS

_BARS = "▁▂▃▄▅▆▇█"


class Steps:
    """Says what is being done and how long each step took, a line each."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()

    def done(self, what: str) -> None:
        """A step is finished; the time is that since the step before."""
        now_s = time.monotonic()
        self._console.print(
            f"[green]✓[/] {what} [dim]{now_s - self._began_s:.1f} s[/]", highlight=False
        )
        self._began_s = now_s


def live(watch: Watch, sample: Sample, left_s: float) -> Group:
    """The screen of one second."""
    return Group(
        Panel(_head(watch, sample), title=f"Beckon, live: {left_s:.0f} s to go", style="cyan"),
        _arms(watch),
        _brought(watch),
        _foot(watch),
    )


def line(watch: Watch, sample: Sample) -> str:
    """The same in one line, for where there is no terminal."""
    return (
        f"{sample.at_s:5.0f} s  {sample.events_per_s:6,.0f} events/s  "
        f"{sample.decisions_per_s:5,.0f} decisions/s  p50 {_ms(sample.p50_ms)}  "
        f"p99 {_ms(sample.p99_ms)}  click-through {sample.click_through:.2%}  "
        f"dead letters {sum(watch.refusals.values()):,}  {challenger(sample)}"
    )


def challenger(sample: Sample) -> str:
    """The log losses of the model that decides and of the one that learns beside it."""
    if sample.challenger_log_loss is None:
        return "challenger: no label yet"
    return (
        f"log loss: champion {sample.champion_log_loss:.4f}, "
        f"challenger {sample.challenger_log_loss:.4f}"
    )


def spark(values: list[float | None], width: int = 40) -> str:
    """The last values as a row of bars."""
    shown = [value or 0.0 for value in values[-width:]]
    top = max(shown, default=0.0)
    if top <= 0:
        return ""
    return "".join(_BARS[min(7, int(value / top * 7.999))] for value in shown)


def _head(watch: Watch, sample: Sample) -> Table:
    samples = watch.samples
    grid = Table.grid(padding=(0, 2))
    grid.add_row(
        "events", f"[bold]{sample.events_per_s:,.0f}[/]/s", spark([s.events_per_s for s in samples])
    )
    grid.add_row(
        "decisions",
        f"[bold]{sample.decisions_per_s:,.0f}[/]/s",
        spark([s.decisions_per_s for s in samples]),
    )
    grid.add_row(
        "event → decision",
        f"p50 [bold]{_ms(sample.p50_ms)}[/]  p99 [bold]{_ms(sample.p99_ms)}[/]",
        spark([s.p99_ms for s in samples]),
    )
    grid.add_row(
        "click-through",
        f"[bold]{sample.click_through:.2%}[/]",
        spark([s.click_through for s in samples]),
    )
    return grid


def _arms(watch: Watch) -> Table:
    table = Table(title="what it has learned of each channel", expand=True, title_justify="left")
    table.add_column("campaign")
    table.add_column("channel")
    for name in ("sent", "clicked", "click-through", "posterior", "truth"):
        table.add_column(name, justify="right")
    truth = watch.simulator.market.truth
    for (campaign, channel), arm in sorted(watch.simulator.sender.tally.arms.items()):
        posterior = watch.posteriors.get((campaign, channel))
        best = truth.best_channel(campaign) == channel
        table.add_row(
            campaign,
            Text(f"{channel} ★" if best else channel, "bold green" if best else ""),
            f"{arm.sends:,}",
            f"{arm.clicks:,}",
            f"{arm.clicks / max(1, arm.sends):.2%}",
            "prior"
            if posterior is None
            else f"{posterior.alpha / (posterior.alpha + posterior.beta):.2%}",
            f"{truth.expected_ctr(campaign, channel):.2%}",
        )
    return table


def _brought(watch: Watch) -> Table:
    """What campaigns brought, as `beckon effects` has it."""
    table = Table(title="what it has brought", expand=True, title_justify="left")
    table.add_column("campaign")
    for name in ("sent", "held out", "clicked", "orders", "cost", "revenue", "ROI"):
        table.add_column(name, justify="right")
    table.add_column("orders a customer against held out")
    for each in watch.brought():
        counted = each.whole.counted
        lifts = [lift for lift in each.whole.lifts if lift.metric == "orders"]
        table.add_row(
            each.campaign_id, f"{counted.sends:,}", f"{counted.held_out:,}", f"{counted.clicked:,}",
            f"{counted.conversions:,.1f}", f"{counted.cost:,.2f}", f"{counted.revenue:,.2f}",
            f"{each.whole.roi:,.1f}",
            *(f"{lift.difference:+.4f} ({lift.low:+.4f} to {lift.high:+.4f})" for lift in lifts),
        )  # fmt: skip
    return table


def _foot(watch: Watch) -> Table:
    tally = watch.simulator.sender.tally
    low, high = tally.lift_interval
    spend = "  ".join(f"{name} {cost:,.2f}" for name, cost in sorted(watch.spend().items()))
    letters = ", ".join(f"{reason} {count:,}" for reason, count in watch.refusals.most_common())
    ends = "  ".join(f"{end} {count:,}" for end, count in watch.ends.most_common())
    grid = Table.grid(padding=(0, 2))
    grid.add_row("spent", spend or "nothing yet")
    grid.add_row(
        "conversion",
        f"sent {tally.sent.ratio:.2%}, held out {tally.held_out.ratio:.2%}: "
        f"lift {tally.lift:+.2%} ({low:+.2%} to {high:+.2%})",
    )
    grid.add_row("challenger", challenger(watch.samples[-1]) if watch.samples else "")
    grid.add_row("every input's end", ends or "nothing yet")
    grid.add_row("dead letters", letters or f"none of {len(REASONS)} kinds")
    return grid


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f} ms"
