"""``beckon run`` and ``beckon stop``: the stream on a Flink cluster."""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Final, NamedTuple

import typer

from jobs import kafka, restore
from jobs.bundle import build_bundle
from jobs.cluster import Cluster
from jobs.settings import Settings
from operators import names
from operators.control_log import Snapshot
from schemas.errors import UserMistake
from schemas.topics import CONTROL, EVENTS

_PATIENCE_S: Final = 120.0


class Started(NamedTuple):
    """A stream that runs: the job, its page and the state it resumed from."""

    job: str
    url: str
    resumed: str | None


def start_stream(settings: Settings, *, fresh: bool = False, origin: str | None = None) -> Started:
    """Submit the stream and return when all of it runs.

    Args:
        settings: where Kafka and Flink are.
        fresh: start with no state and read the inputs from their beginning.
        origin: savepoint or checkpoint to resume from; default: the latest of this data directory.

    Raises:
        UserMistake: it runs already, or there is no cluster or no such state.
        JobFailed: it was submitted and failed; the text ends with the root cause.
    """
    from jobs.submit import Submission, submit

    cluster = Cluster(settings.flink)
    cluster.free_slots()
    if (job := cluster.running(names.JOB)) is not None:
        raise UserMistake(f"the stream runs already, as job {job}; `beckon stop` stops it")
    point = _point(settings, fresh, origin)
    created = kafka.ensure_topics(settings)
    bundle = build_bundle(settings.data_dir.resolve() / "bundles")
    job = submit(
        Submission(
            settings,
            run=uuid.uuid4().hex,
            control=Snapshot() if CONTROL in created else kafka.control_until_now(settings),
            bundle=bundle,
            partitions=kafka.partitions(settings, EVENTS),
            restore=None if point is None else point.path,
            saved_ms=None if point is None else point.saved_ms,
        )
    )
    cluster.wait_until_running(job, _PATIENCE_S)
    restore.note_start(settings, job, origin=None if point is None else point.path, fresh=fresh)
    return Started(job, f"{cluster.url}/#/job/running/{job}", None if point is None else point.path)


def stop_stream(settings: Settings) -> str | None:
    """Stop the stream with a savepoint; returns where that is, None if it did not run."""
    cluster = Cluster(settings.flink)
    cluster.free_slots()
    job = cluster.running(names.JOB)
    if job is None:
        return None
    savepoint = cluster.stop(job, _PATIENCE_S)
    restore.note_savepoint(settings, job, savepoint)
    return savepoint


def run(
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Forget all state; read the inputs from the start, decide and publish again.",
        ),
    ] = False,
    origin: Annotated[
        str | None,
        typer.Option("--from", help="Savepoint or checkpoint to resume from; default: the latest."),
    ] = None,
) -> None:
    """Submit the stream to Flink and wait until all of it runs."""
    began = time.monotonic()
    started = start_stream(Settings(), fresh=fresh, origin=origin)
    typer.echo(f"job      {started.job}")
    typer.echo(f"page     {started.url}")
    typer.echo(f"resumed  {started.resumed or 'nothing: fresh state'}")
    typer.echo(f"running after {time.monotonic() - began:.1f} s")


def stop() -> None:
    """Stop the stream with a savepoint, from which the next run resumes."""
    settings = Settings()
    savepoint = stop_stream(settings)
    if savepoint is None:
        last = restore.latest(settings)
        typer.echo(
            "the stream does not run" + (f"; it would resume from {last.path}" if last else "")
        )
    else:
        typer.echo(f"stopped; savepoint {savepoint}")


def _point(settings: Settings, fresh: bool, origin: str | None) -> restore.Point | None:
    if fresh and origin is not None:
        raise UserMistake("--fresh and --from contradict each other")
    if origin is not None:
        point: restore.Point | None = restore.Point(origin)
    else:
        point = None if fresh else restore.latest(settings)
    if point is not None and restore.missing(point.path):
        raise UserMistake(f"no savepoint or checkpoint at {point.path}; `--fresh` starts without")
    return point
