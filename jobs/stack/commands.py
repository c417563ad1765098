"""``beckon stack up | down | status | wipe``."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from jobs.settings import Settings
from jobs.stack.local import BUILDERS, LocalStack, Report, State

app = typer.Typer(help="Real servers on this machine.", no_args_is_help=True)

Names = Annotated[
    list[str] | None, typer.Argument(help=f"Of {', '.join(BUILDERS)}; all when none is named.")
]


@app.command()
def up(names: Names = None) -> None:
    """Start the servers that do not run yet; harmless when all do."""
    begun = time.monotonic()
    with _told() as report:
        stack = LocalStack(Settings(), report)
        states = stack.up(names)
    console = Console()
    serve = "1 process serves" if len(states) == 1 else f"{len(states)} processes serve"
    console.print(f"{serve}, after {time.monotonic() - begun:.1f} s", style="bold")
    _show(console, states)


@app.command()
def down(names: Names = None) -> None:
    """Stop the servers that `up` started; their data stays."""
    with _told() as report:
        LocalStack(Settings(), report).down(names)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list, for programs.")] = False,
) -> None:
    """Tell what runs, since when, where; exit code 1 when something died."""
    states = LocalStack(Settings()).status()
    if as_json:
        typer.echo(json.dumps([asdict(state) for state in states]))
    elif states:
        _show(Console(), states)
    else:
        typer.echo("Nothing runs: `beckon stack up` starts it.")
    if not all(state.alive for state in states):
        raise typer.Exit(1)


@app.command()
def wipe(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop the servers and delete their data, checkpoints and logs."""
    with _told() as report:
        stack = LocalStack(Settings(), report)
        if not yes:
            typer.confirm(f"Delete {stack.root} with all its data?", abort=True)
        stack.wipe()


@contextmanager
def _told() -> Iterator[Report]:
    """Show reports as a live table on a terminal and as lines elsewhere."""
    console = Console(stderr=True)
    news: dict[str, str] = {}
    lock = threading.Lock()
    begun = time.monotonic()

    def table() -> Table:
        grid = Table.grid(padding=(0, 2))
        for name, what in news.items():
            grid.add_row(name, what)
        return grid

    if not console.is_terminal:
        yield lambda name, what: typer.echo(
            f"{time.monotonic() - begun:5.1f} s  {name} {what}", err=True
        )
        return
    with Live(console=console, refresh_per_second=10) as live:

        def report(name: str, what: str) -> None:
            with lock:
                news[name] = what
                live.update(table())

        yield report


def _show(console: Console, states: list[State]) -> None:
    table = Table(box=None, header_style="dim")
    for column in ("process", "state", "pid", "since", "ports"):
        table.add_column(column, no_wrap=True)
    for state in states:
        since = datetime.fromtimestamp(state.since_ms / 1000, UTC).astimezone()
        table.add_row(
            state.name,
            "[green]runs" if state.alive else "[red]died",
            str(state.pid),
            f"{since:%Y-%m-%d %H:%M:%S}",
            " ".join(map(str, state.ports.values())),
        )
    console.print(table)
    for folder in {str(Path(state.log).parent) for state in states}:
        console.print(f"logs: {folder}/PROCESS.log", style="dim", soft_wrap=True)
