"""``beckon campaigns``: the files that say when to speak, checked, tried, published and listed."""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.campaigns.changes import (
    InForce,
    everything,
    history,
    is_record,
    plan,
    publish,
    running,
    switch,
)
from jobs.campaigns.differences import differences
from jobs.campaigns.dry_run import dry_run
from jobs.campaigns.files import Checked, Record, read_files, shipped
from jobs.campaigns.variant_models import bring, drop_unneeded
from jobs.campaigns.vocabulary import names
from jobs.kafka import ensure_topics
from jobs.scenarios.command import run_scenarios
from jobs.settings import Settings
from jobs.words import moment
from schemas.change import Change
from schemas.control import Campaign, ControlRecord, control_key
from schemas.errors import UserMistake
from schemas.experiment import Experiment

app = typer.Typer(
    help="Check, try, publish, pause and list campaign files.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Paths = Annotated[
    list[Path] | None, typer.Argument(help="Files or folders; default: the shipped campaigns.")
]
Prune = Annotated[
    bool, typer.Option("--prune", help="Withdraw running campaigns that no file names.")
]
Author = Annotated[
    str, typer.Option(help="Who it is that changes them; default: who is logged in here.")
]
Names = Annotated[list[str], typer.Argument(help="Ids of campaigns in force.")]


@app.command()
def check(paths: Paths = None) -> None:
    """Check campaign files; each mistake names file, line, field and fix."""
    files = _read(paths)
    are = "file is" if len(files) == 1 else "files are"
    typer.echo(f"{len(files)} {are} sound: {', '.join(control_key(f.record) for f in files)}")


@app.command()
def diff(paths: Paths = None, prune: Prune = False) -> None:
    """Show what `apply` would change, field by field; nothing is published."""
    control = everything(Settings())
    in_force = {control_key(record): record for record in control if is_record(record)}
    files = _read(paths, prune=prune, control=control)
    past = {change.key: change.version for change in history(Settings())}
    changes = plan(files, in_force, _now_ms(), prune, past)
    for change in changes:
        _say(change, in_force)
    typer.echo(f"{len(changes)} would change, {_same(files, changes)} unchanged")


@app.command()
def apply(paths: Paths = None, prune: Prune = False, author: Author = "") -> None:
    """Publish the files that differ from what runs, once all of them are sound.

    All are published or none. A campaign that was paused stays paused, unless its file says
    `status: active`.
    """
    settings = Settings()
    _check_prune(paths, prune)
    read_files(paths or [shipped()])  # a mistake is told even where no Kafka answers
    ensure_topics(settings)
    control = everything(settings)
    files = _read(paths, prune=prune, control=control)
    seen: dict[str, Record] = {}

    def wanted(in_force: InForce, past: Mapping[str, int]) -> list[Change]:
        seen.update(in_force)
        return plan(files, in_force, _now_ms(), prune, past)

    for version in bring(settings, [file.record for file in files], control):
        typer.echo(f"brought   model {version}, for the variants that name it")
    changes = publish(settings, wanted, _author(author))
    for change in changes:
        _say(change, seen)
    after = {**seen, **{change.key: change.after for change in changes}}
    left = [record for record in after.values() if record is not None]
    for version in drop_unneeded(settings, left, control):
        typer.echo(f"withdrawn model {version}: no variant names it any more")
    typer.echo(f"{len(changes)} published, {_same(files, changes)} unchanged")


@app.command()
def pause(campaigns: Names, author: Author = "") -> None:
    """Let campaigns say nothing more, at once; what waits for the morning is cancelled."""
    _switch(campaigns, "paused", author)


@app.command()
def resume(campaigns: Names, author: Author = "") -> None:
    """Let paused campaigns go on."""
    _switch(campaigns, "active", author)


@app.command(name="list")
def list_running() -> None:
    """List what runs."""
    for line in _table(running(Settings()).values()):
        typer.echo(line)


@app.command(name="history")
def show_history(
    name: Annotated[
        str | None, typer.Argument(help="A campaign's id, or `policy`; default: all.")
    ] = None,
) -> None:
    """Show each version: when, by whom, and what it changed; oldest first."""
    key = None if name is None else "policy/main" if name == "policy" else f"campaign/{name}"
    found = [each for each in history(Settings()) if key in (None, each.key)]
    if not found:
        raise UserMistake(f"no change of {name or 'anything'} was ever published")
    before: dict[str, Record] = {}
    for change in found:
        why = f": {change.reason}" if change.reason else ""
        typer.echo(f"{moment(change.at_ms)}  {change.author or 'somebody'}{why}")
        _say(change, before)
        if change.after is None:
            before.pop(change.key, None)
        else:
            before[change.key] = change.after


app.command(name="dry-run")(dry_run)
app.command(name="test")(run_scenarios)
app.command()(names)


def _switch(campaigns: list[str], status: Literal["active", "paused"], author: str) -> None:
    settings = Settings()
    ensure_topics(settings)
    changes = publish(
        settings,
        lambda in_force, _: switch(campaigns, status, in_force, _now_ms()),
        _author(author),
    )
    for change in changes:
        _say(change, {})
    if same := len(campaigns) - len(changes):
        typer.echo(f"{same} {'is' if same == 1 else 'are'} {status} already")


def _read(
    paths: Paths, *, prune: bool = False, control: list[ControlRecord] | None = None
) -> list[Checked]:
    """Read files and warn of what is odd."""
    _check_prune(paths, prune)
    files = read_files(paths or [shipped()], control=control)
    for file in files:
        for warning in file.warnings:
            typer.echo(f"warning: {warning}", err=True)
    return files


def _check_prune(paths: Paths, prune: bool) -> None:
    if prune and not all(path.is_dir() for path in paths or ()):
        raise UserMistake("--prune withdraws what no file names: give it the whole folder")


def _say(change: Change, before: InForce) -> None:
    typer.echo(f"{change.verb:<9} {change.key} (version {change.version})")
    was = before.get(change.key)
    if was is not None and change.after is not None:
        for line in differences(was, change.after):
            typer.echo(f"            {line}")


def _same(files: list[Checked], changes: list[Change]) -> int:
    return len(files) - sum(change.after is not None for change in changes)


def _author(said: str) -> str:
    try:
        return said or getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        raise UserMistake("say who you are: --author NAME") from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _table(records: Iterable[Record]) -> list[str]:
    lines = []
    for record in sorted(records, key=control_key):
        if isinstance(record, Campaign):
            trigger = type(record.trigger).__struct_config__.tag
            about = f"{trigger}, {'/'.join(record.channels)}, holdout {record.holdout_ratio:.1%}"
            lines.append(f"{record.id:<24} v{record.version:<4} {record.status:<7} {about}")
        elif isinstance(record, Experiment):
            shares = ", ".join(f"{each.name} {each.share:.0%}" for each in record.variants)
            about = f"experiment on {', '.join(record.campaigns)}: {shares}"
            lines.append(f"{record.id:<24} v{record.version:<4} {'active':<7} {about}")
        else:
            caps = "cap" if len(record.caps) == 1 else "caps"
            about = f"holdout {record.holdout_ratio:.1%}, {len(record.caps)} {caps}"
            lines.append(f"{'(policy)':<24} v{record.version:<4} {'active':<7} {about}")
    return lines or ["nothing runs; publish with `beckon campaigns apply`"]
