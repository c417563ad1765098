"""``beckon archive``: keep what the stream saw, show what is kept, take customers out."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from jobs.archive.archiver import Archiver
from jobs.archive.gone import Gone, erased
from jobs.archive.parity import OF
from jobs.archive.read import days
from jobs.archive.tables import TABLES
from jobs.archive.upkeep import erase
from jobs.archive.write import Archive, read_manifest
from jobs.service import begin_service
from jobs.settings import Settings

app = typer.Typer(
    help="Keep what the stream saw as Parquet files by day; erase customers from them.",
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def archive(
    context: typer.Context,
    every_s: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two batches on disk.")
    ] = 60.0,
    most: Annotated[int, typer.Option(min=1, help="Rows of a batch at most.")] = 20_000,
    parity_share: Annotated[
        int, typer.Option(min=1, help="Recompute the score of one example in so many.")
    ] = 1,
) -> None:
    """Archive events, outcomes, decisions, examples, rewards and control records until SIGTERM.

    Whatever is killed, and when: each record is kept once, and it goes on where the files end. The
    scores of examples are computed again from the features that they carry, by the file of the
    model that they name; `beckon archive status` has the counts.
    """
    if context.invoked_subcommand is not None:
        return
    stop = begin_service()
    settings = Settings()
    with Archive(settings.archive) as kept:
        Archiver(settings, kept, every_s=every_s, most=most, parity_share=parity_share).run(stop)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show what is kept, how far the topics were read, and how the parity check goes."""
    root = Settings().archive
    manifest = read_manifest(root)
    counted = {**dict.fromkeys(OF, 0), **manifest.counted}
    found = {name: [day.isoformat() for day in days(root, table)] for name, table in TABLES.items()}
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "root": str(root),
                    "batch": manifest.batch,
                    "offsets": manifest.offsets,
                    "counted": counted,
                    "days": found,
                    "erased": sum(not name.startswith("key:") for name in erased(root)),
                }
            )
        )
        return
    for name, of in found.items():
        span = f"{of[0]} … {of[-1]}, {len(of)} days" if of else "nothing"
        typer.echo(f"{name:<10} {counted.get(f'rows_{name}', 0):>12,} rows  {span}")
    for name, count in counted.items():
        if not name.startswith("rows_"):
            typer.echo(f"{name.replace('_', ' '):<24} {count:,}")


@app.command(name="erase")
def erase_customers(
    users: Annotated[list[str], typer.Argument(metavar="USER…", help="Ids of customers.")],
) -> None:
    """Take customers out of every file, and keep out what comes of them later.

    The archiver may run meanwhile. What other parties brought of them goes as well, and so does
    what `beckon effects` remembers of them: at once where it does not run, within its next saving
    where it does. They are remembered by a SHA-256, never by their id.
    """
    from jobs.effects.memory import erase_at_rest

    settings = Settings()
    taken = erase(settings.archive, users)
    gone = Gone(settings.archive)
    gone.refresh()
    left = erase_at_rest(settings, gone)
    total = sum(taken.values())
    parts = ", ".join(f"{count:,} {name}" for name, count in sorted(taken.items()) if count)
    typer.echo(
        f"{total:,} rows of {len(set(users))} customers erased" + (f": {parts}" if parts else "")
    )
    if left is None:
        typer.echo("`beckon effects` runs here, and forgets them when it next saves")
