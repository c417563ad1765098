"""``beckon campaigns``: the files that say when to speak, checked, published and listed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from jobs.campaigns.changes import plan, publish, running
from jobs.campaigns.files import Checked, Record, read_files, shipped
from jobs.kafka import ensure_topics
from jobs.settings import Settings
from schemas.control import Campaign, control_key
from schemas.errors import UserMistake

app = typer.Typer(
    help="Check, publish and list campaign files.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Paths = Annotated[
    list[Path] | None, typer.Argument(help="Files or folders; default: the shipped campaigns.")
]


@app.command()
def check(paths: Paths = None) -> None:
    """Check campaign files; each mistake names file, line, field and fix."""
    files = read_files(paths or [shipped()])
    _warn(files)
    typer.echo(f"{len(files)} files are sound: {', '.join(control_key(f.record) for f in files)}")


@app.command()
def apply(
    paths: Paths = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Withdraw running campaigns that no file names.")
    ] = False,
) -> None:
    """Publish the files that differ from what runs, once all of them are sound."""
    chosen = paths or [shipped()]
    if prune and not all(path.is_dir() for path in chosen):
        raise UserMistake("--prune withdraws what no file names: give it the whole folder")
    files = read_files(chosen)
    _warn(files)
    settings = Settings()
    ensure_topics(settings)
    changes = plan(files, running(settings), time.time_ns() // 1_000_000, prune)
    publish(settings, changes)
    for change in changes:
        version = "" if change.after is None else f" (version {change.after.version})"
        typer.echo(f"{change.verb:<9} {change.key}{version}")
    same = len(files) - sum(change.after is not None for change in changes)
    typer.echo(f"{len(changes)} published, {same} unchanged")


@app.command(name="list")
def list_running() -> None:
    """List what runs."""
    for line in _table(running(Settings()).values()):
        typer.echo(line)


def _table(records: Iterable[Record]) -> list[str]:
    lines = []
    for record in sorted(records, key=control_key):
        if isinstance(record, Campaign):
            trigger = type(record.trigger).__struct_config__.tag
            about = f"{trigger}, {'/'.join(record.channels)}, holdout {record.holdout_ratio:.1%}"
            lines.append(f"{record.id:<24} v{record.version:<4} {record.status:<7} {about}")
        else:
            about = f"holdout {record.holdout_ratio:.1%}, {len(record.caps)} caps"
            lines.append(f"{'(policy)':<24} v{record.version:<4} {'active':<7} {about}")
    return lines or ["nothing runs; publish with `beckon campaigns apply`"]


def _warn(files: Iterable[Checked], say: Callable[..., None] = typer.echo) -> None:
    for file in files:
        for warning in file.warnings:
            say(f"warning: {warning}", err=True)
