"""What else would have been: under other campaigns, another model, another choice of channels."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import typer

from jobs.audit.pins import Entry
from jobs.audit.recorded import between, control_log, inputs
from jobs.audit.rerun import Input
from jobs.audit.worth import changes, sentences
from jobs.campaigns.dry_run import changed, published_states, report
from jobs.campaigns.files import read_files
from jobs.campaigns.trial import Recorded, run_trial
from jobs.evaluate import METRICS, answer
from jobs.settings import Settings
from schemas import topics
from schemas.control import Model, control_key
from schemas.decision import Decision
from schemas.errors import InvalidRecord, UserMistake
from schemas.learning import Example, Reward
from schemas.wire import decode_control, encode

NO_EFFECT: Final = "nothing was published or sent, and nothing that was learned has moved"
_decision: Final = msgspec.json.Decoder(Decision).decode
_example: Final = msgspec.json.Decoder(Example).decode
_reward: Final = msgspec.json.Decoder(Reward).decode


def other_campaigns(
    settings: Settings,
    from_ms: int,
    to_ms: int,
    campaigns: Sequence[Path],
    model: Path | None,
    *,
    as_json: bool,
) -> None:
    """Tell whom files or a model would have reached, and what of the log they would have kept.

    Raises:
        UserMistake: a file is none of ours.
    """
    before = in_force(control_log(settings), to_ms)
    files = [each.record for each in read_files(list(campaigns))] if campaigns else []
    after = changed(files)
    if model is not None:
        record = _model(model)
        after[control_key(record)] = encode(record)
    found = sorted(
        (each for each in inputs(settings) if from_ms <= each.came_ms < to_ms), key=_in_order
    )
    trial = run_trial(
        (Recorded(each.topic, each.user_id, each.payload, each.came_ms) for each in found),
        before,
        after,
        published_states(settings).get,
    )
    worth = changes(
        trial,
        map(_decision, between(settings, topics.DECISIONS, from_ms, to_ms)),
        map(_reward, between(settings, topics.REWARDS, from_ms)),
    )
    if as_json:
        said = msgspec.to_builtins(trial) | {"worth": msgspec.to_builtins(worth)}
        typer.echo(json.dumps({k: v for k, v in said.items() if not k.startswith("sent_")}))
        return
    for line in (*report(trial, files), *sentences(worth), NO_EFFECT):
        typer.echo(line)


def other_policy(
    settings: Settings, from_ms: int, to_ms: int, policy: str, *, as_json: bool
) -> None:
    """Tell what another policy of choosing channels would have earned, by the log's propensities.

    Raises:
        UserMistake: there is no such policy.
    """
    log: list[Example | Reward] = [
        *map(_example, between(settings, topics.EXAMPLES, from_ms, to_ms)),
        *map(_reward, between(settings, topics.REWARDS, from_ms)),
    ]
    found = {metric: answer(log, policy, metric) for metric in METRICS}
    if as_json:
        typer.echo(json.dumps({"policy": policy, **msgspec.to_builtins(found)}))
        return
    for metric, each in found.items():
        if isinstance(each, str):
            typer.echo(f"{metric:<8} cannot tell: {each}")
            continue
        value, bounds = each.snips.value, each.snips.bootstrap
        typer.echo(
            f"{metric:<8} a message: {each.logged:.5f} as it was, {value:.5f} ({bounds.low:.5f} to "
            f"{bounds.high:.5f}) by {policy}; {each.rounds:,} messages, worth "
            f"{each.effective:,.0f} of its own"
        )
    typer.echo(NO_EFFECT)


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
