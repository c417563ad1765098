"""``beckon replay --topic``: decide again what was decided, or what else would have been."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import typer

from jobs.audit.pins import ControlLog, Entry
from jobs.audit.recorded import control_log, inputs, made
from jobs.audit.rerun import MOST_TOLD, Input, Rerun, rerun
from jobs.campaigns.dry_run import changed, report
from jobs.campaigns.files import read_files
from jobs.campaigns.trial import Recorded, run_trial
from jobs.evaluate import moment_of
from jobs.settings import Settings
from schemas.control import Model, control_key
from schemas.errors import InvalidRecord, UserMistake
from schemas.topics import INPUTS
from schemas.wire import decode_control, encode


def audit(
    wanted: Sequence[str],
    since: str,
    until: str,
    campaigns: Sequence[Path] = (),
    model: Path | None = None,
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
    from_ms = moment_of(since, now_s) if since else 0
    to_ms = moment_of(until, now_s) if until else round(now_s * 1_000)
    if from_ms >= to_ms:
        raise UserMistake(f"--from {since!r} is not before --to {until!r}")
    settings = Settings()
    if campaigns or model is not None:
        _what_if(settings, from_ms, to_ms, campaigns, model, as_json)
        return
    log = ControlLog(control_log(settings))
    found = rerun(inputs(settings), log, made(settings), from_ms, to_ms, shards=settings.shards)
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
    same = "equal" if found.digest_equal else f"not equal: {found.digest_rerun} again"
    typer.echo(f"digest {found.digest_recorded}, {same}")


def _what_if(
    settings: Settings,
    from_ms: int,
    to_ms: int,
    campaigns: Sequence[Path],
    model: Path | None,
    as_json: bool,
) -> None:
    log = control_log(settings)
    before = in_force(log, to_ms)
    files = [each.record for each in read_files(list(campaigns))] if campaigns else []
    after = changed(files)
    if model is not None:
        record = _model(model)
        after[control_key(record)] = encode(record)
    found = sorted(
        (each for each in inputs(settings) if from_ms <= each.came_ms < to_ms),
        key=_in_order,
    )
    trial = run_trial(
        (Recorded(each.topic, each.user_id, each.payload, each.came_ms) for each in found),
        before,
        after,
    )
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(trial)))
        return
    for line in report(trial, files):
        typer.echo(line)
    typer.echo("what they would have earned: `beckon evaluate --policy … --since …`, by the log")


def in_force(log: Sequence[Entry], moment_ms: int) -> dict[str, bytes]:
    """The control records in force at a moment, by key."""
    found: dict[str, bytes] = {}
    for came_ms, key, value in log:
        if came_ms > moment_ms:
            break
        found.pop(key, None)
        if value is not None:
            found[key] = value
    return found


def _in_order(each: Input) -> tuple[int, str, int, int]:
    return each.came_ms, each.topic, each.partition, each.offset


def _model(path: Path) -> Model:
    try:
        record = decode_control(path.read_bytes())
    except OSError as error:
        raise UserMistake(f"cannot read {path}: {error.strerror}") from error
    except InvalidRecord as error:
        raise UserMistake(f"{path} is no control record: {error.detail}") from error
    if not isinstance(record, Model):
        raise UserMistake(f"{path} is a {control_key(record).partition('/')[0]}, not a model")
    return msgspec.structs.replace(record, updated_ms=time.time_ns() // 1_000_000)
