"""``beckon replay --topic``: decide again what was decided, or what else would have been."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import typer

from jobs.audit.recorded import config, control_log, inputs, made, steps
from jobs.audit.rerun import MOST_TOLD, Rerun, rerun
from jobs.audit.whatif import other_campaigns, other_policy
from jobs.evaluate import moment_of
from jobs.settings import Settings
from jobs.words import moment
from schemas.errors import UserMistake
from schemas.topics import INPUTS


def audit(
    wanted: Sequence[str],
    since: str,
    until: str,
    campaigns: Sequence[Path] = (),
    model: str = "",
    policy: str = "",
    as_json: bool = False,
) -> None:
    """Replay recorded inputs without any effect; see `jobs.replay.command`.

    Raises:
        UserMistake: a topic that holds no inputs, a time that is none, or decisions that differ.
    """
    unknown = sorted(set(wanted) - set(INPUTS))
    if unknown:
        raise UserMistake(f"--topic {unknown[0]!r}: inputs are recorded in {' and '.join(INPUTS)}")
    now_s = time.time()
    from_ms = moment_of(since, now_s, "--from") if since else 0
    to_ms = moment_of(until, now_s, "--to") if until else round(now_s * 1_000)
    if from_ms >= to_ms:
        raise UserMistake(f"--from {since!r} is not before --to {until!r}")
    settings = Settings()
    if policy:
        if campaigns or model:
            raise UserMistake("--policy asks the log as it is: leave out --campaigns and --model")
        other_policy(settings, from_ms, to_ms, policy, as_json=as_json)
        return
    if campaigns or model:
        other_campaigns(settings, from_ms, to_ms, campaigns, model, as_json=as_json)
        return
    found = rerun(
        list(steps(settings)),  # first, for all that they hung on is there by then
        inputs(settings),
        control_log(settings),
        made(settings),
        from_ms,
        to_ms,
        config(settings),
    )
    if not (found.decisions or found.added):
        raise UserMistake(
            f"nothing was decided from {moment(from_ms)} to {moment(to_ms)}, so there is nothing "
            "to compare; begin with an earlier --from"
        )
    if as_json:
        typer.echo(json.dumps({**msgspec.to_builtins(found), "digest_equal": found.digest_equal}))
    else:
        show(found)
    if not found.digest_equal:
        raise typer.Exit(1)


def show(found: Rerun) -> None:
    """Print a rerun for people."""
    typer.echo(
        f"{found.inputs:,} inputs, {found.decisions:,} decisions, {found.equal:,} made again "
        "to the byte"
    )
    for name, fields in list(found.differing.items())[:MOST_TOLD]:
        typer.echo(f"  differs  {name}: {', '.join(fields)}")
    for word, names in (("missing", found.missing), ("added", found.added)):
        for name in names[:MOST_TOLD]:
            typer.echo(f"  {word:<8} {name}")
    if found.lost:
        typer.echo(
            f"  of {found.lost:,} steps the audit or the inputs are gone from Kafka, and what came "
            "of them cannot be told"
        )
    same = "equal" if found.digest_equal else f"not equal: {found.digest_rerun} again"
    typer.echo(f"digest {found.digest_recorded}, {same}")
