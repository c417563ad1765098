"""``beckon campaigns test``: play scenario files without any server."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from jobs.campaigns.files import SUFFIXES, files_of, shipped
from jobs.scenarios.form import read_scenario
from jobs.scenarios.play import play
from schemas.errors import UserMistake

FOLDER = "scenarios"
"""Where the scenarios of a folder's campaigns are, by the campaign's file name."""


def run_scenarios(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Scenario files, campaign files, or folders of either; default: what is shipped."
        ),
    ] = None,
) -> None:
    """Play scenario files: stories of customers, and what campaigns must say and not say.

    No server is needed. A story that comes out differently is told with file and line.
    """
    faults = cases = 0
    mistakes = []
    for path in scenarios_of(paths or [shipped()]):
        try:
            scenario = read_scenario(path)
            found = play(scenario)
        except UserMistake as mistake:
            mistakes.append(str(mistake))
            continue
        failed = len({fault.case for fault in found})
        count = len(scenario.cases)
        cases += count
        faults += failed
        typer.echo(f"{'FAILED' if found else 'ok':<7} {path.name}: {_cases(count)}")
        for fault in found:
            typer.echo(f"        {path}:{fault.line}: {fault.case}: {fault.what}")
    if mistakes:
        raise UserMistake("\n".join(mistakes))
    typer.echo(f"{cases - faults} of {_cases(cases)} as expected")
    if faults:
        raise typer.Exit(1)


def scenarios_of(paths: Iterable[Path]) -> list[Path]:
    """The scenario files meant: themselves, those of campaigns, those of folders.

    Raises:
        UserMistake: there are none, or a campaign has none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = path / FOLDER if (path / FOLDER).is_dir() else path
            found.update(dict.fromkeys(files_of([inside])))
        elif path.parent.name == FOLDER or not path.exists():
            found.update(dict.fromkeys(files_of([path])))
        else:
            beside = path.parent / FOLDER / path.name
            if not beside.is_file() or beside.suffix not in SUFFIXES:
                raise UserMistake(f"{path} has no scenario; write {beside}")
            found[beside] = None
    return list(found)


def _cases(count: int) -> str:
    return f"{count} case{'' if count == 1 else 's'}"
