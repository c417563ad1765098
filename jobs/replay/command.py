"""``beckon replay``: events from files once more, or recorded ones decided again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.mapping import read_mapping
from jobs.replay.publish import KafkaEvents, Pace, Report, Ticker, parse_speed, replay_files
from jobs.settings import Settings
from schemas.errors import UserMistake
from schemas.event import BehaviorEvent


def replay(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE…", help=".csv .jsonl .parquet .gz")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="Which column is what: infra/mappings/*.yaml.")
    ] = None,
    speed: Annotated[str, typer.Option(help="A multiple of real time (60x), or max.")] = "max",
    limit: Annotated[int | None, typer.Option(min=1, help="Rows to read at most.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Map and count only.")] = False,
    topic: Annotated[
        list[str] | None,
        typer.Option(help="Instead of files, decide again what was recorded there; no effects."),
    ] = None,
    since: Annotated[
        str, typer.Option("--from", help="With --topic: from when; 2h, or an RFC 3339 time.")
    ] = "",
    until: Annotated[
        str, typer.Option("--to", help="With --topic: until when; now when left out.")
    ] = "",
    campaigns: Annotated[
        list[Path] | None, typer.Option(help="With --topic: what these files would have done.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="With --topic: what this model would have done; a version of `beckon models "
            "list`, or a file."
        ),
    ] = "",
    policy: Annotated[
        str,
        typer.Option(help="With --topic: what this policy of choosing channels would have earned."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="With --topic: one JSON object.")] = False,
) -> None:
    """Publish events from files; or decide again what was recorded, as an audit.

    With --topic nothing is published and nothing is sent. The recorded inputs go through the
    stream's own core, each under the campaigns, policy, model and posteriors that were in force,
    and what was decided between --from and --to must come out again, byte for byte: the digests
    are told, and the exit code is 1 when they differ. It reads from the first record that Kafka
    keeps, since a customer's state is all that came before. With --campaigns or --model it says
    instead what another set would have done, and which of the clicks and revenue of the log would
    have stayed; with --policy, what another way of choosing channels would have earned by the
    log's propensities.
    """
    if topic:
        if files:
            raise UserMistake("give files or --topic, not both")
        from jobs.audit.command import audit

        audit(topic, since, until, campaigns or (), model, policy, as_json)
        return
    if not files or mapping is None:
        raise UserMistake("give files and their --mapping, or --topic for what was recorded")
    pace = Pace(parse_speed(speed))
    ready = read_mapping(mapping)
    for path in files:
        if not path.is_file():
            raise UserMistake(f"there is no file {path}")
    kafka = None if dry_run else KafkaEvents(Settings())
    report = Report()
    ticker = Ticker(kafka)
    interrupted = False
    try:
        replay_files(files, ready, kafka or _discard, report, pace, limit, ticker)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if kafka is not None:
            kafka.flush()
        ticker.close()
        for line in report.lines(ticker.seconds):
            typer.echo(line)
    if interrupted or report.lost_all:
        raise typer.Exit(130 if interrupted else 1)


def _discard(event: BehaviorEvent, value: bytes) -> None:
    """Where the events of a dry run go."""
