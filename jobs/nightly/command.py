"""``beckon nightly``: clean, train, judge, swap, tell; one step or all of them."""

from __future__ import annotations

import importlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from jobs.nightly import STEPS
from jobs.nightly.base import Manifest, Step
from jobs.nightly.context import MANIFEST, Context
from jobs.nightly.runner import run_step
from jobs.settings import Settings
from schemas.errors import UserMistake

SHOWN: Final = 10
"""So many files that a step read are named; all are in its manifest."""


def nightly(
    step: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="one step; all when left out")
    ] = None,
    day: Annotated[
        str, typer.Option(help="the newest day to use, YYYY-MM-DD; yesterday (UTC) when left out")
    ] = "",
    archive: Annotated[
        Path | None, typer.Option(help="the archive; the configured one when left out")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="run what is done, too")] = False,
    seed: Annotated[int, typer.Option(min=0, help="of all that is drawn")] = 42,
    quick: Annotated[bool, typer.Option("--quick", help="less searching, for a try")] = False,
    list_: Annotated[bool, typer.Option("--list", help="the steps, and exit")] = False,
) -> None:
    """Run the night shift on what the stream has archived.

    A step whose inputs, code and settings are as they were is skipped, so a night that was
    interrupted is taken up where it stood. A step whose data is not fit is stopped with the reason;
    the others go on, and what was in force yesterday stays. The exit code is then 1.
    """
    console = Console(stderr=True)
    if list_:
        for name, each in STEPS.items():
            typer.echo(f"{name:<16} {about(each)}")
        return
    if step is not None and step not in STEPS:
        raise UserMistake(f"no step {step!r}; there are: {', '.join(STEPS)}")
    settings = Settings()
    night = parse_day(day)
    stopped = []
    for name in [step] if step else list(STEPS):
        manifest = run_one(
            name,
            console,
            force=force,
            archive=archive or settings.archive,
            settings=settings,
            night=night,
            seed=seed,
            quick=quick,
        )
        if manifest.status == "stopped":
            stopped.append(name)
    console.print(f"In {settings.data_dir / 'nightly' / night.isoformat()}")
    if stopped:
        console.print(f"[bold red]stopped:[/] {', '.join(stopped)}")
        raise typer.Exit(1)


def run_one(
    name: str,
    console: Console,
    *,
    force: bool,
    archive: Path,
    settings: Settings,
    night: date,
    seed: int,
    quick: bool,
) -> Manifest:
    """Run one step and say what became of it."""
    console.print(f"[bold]{name}[/]: {about(STEPS[name])}", highlight=False)
    context = Context(
        name,
        archive_dir=archive,
        data_dir=settings.data_dir,
        day=night,
        seed=seed,
        settings=settings,
        console=console,
        quick=quick,
    )
    manifest, ran = run_step(STEPS[name], context, force=force)
    for line in told(manifest, ran):
        console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)
    return manifest


def told(manifest: Manifest, ran: bool) -> list[str]:
    """What a step read, wrote and cost, in lines."""
    if not ran:
        return ["unchanged since it was done; skipped"]
    reads = [source for source in manifest.reads if source.size_bytes]
    lines = [
        f"read   {source.name.removeprefix('table:')}"
        + (f", {source.days} days" if source.days else "")
        + f" ({_size(source.size_bytes)})"
        for source in reads[:SHOWN]
    ]
    if more := reads[SHOWN:]:
        size = sum(source.size_bytes for source in more)
        lines.append(f"read   {len(more)} files more ({_size(size)}), in {MANIFEST}")
    if manifest.reason:
        lines.append(f"STOPPED: {manifest.reason}")
    lines += [f"wrote  {name}" for name in manifest.writes]
    lines.append(f"{manifest.seconds:.1f} s, at most {manifest.peak_gib:.2f} GiB")
    return lines


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{count / 2**10:,.1f} KiB"


def about(step: Step) -> str:
    """The first line of a step's module."""
    module = importlib.import_module(getattr(step, "__module__", ""))
    return (module.__doc__ or "").strip().partition("\n")[0]


def parse_day(text: str) -> date:
    """The night's day.

    Raises:
        UserMistake: it is none.
    """
    if not text:
        return (datetime.now(UTC) - timedelta(days=1)).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserMistake(f"--day {text!r}: write it as 2026-11-26") from None
