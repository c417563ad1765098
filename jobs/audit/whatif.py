"""What else would have been: under other campaigns, another model, another choice of channels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Final

import msgspec
import typer

from jobs.audit.other_model import foretold, read_model, sentence
from jobs.audit.recorded import Entry, Input, between, control_log, inputs, newest
from jobs.audit.worth import changes, sentences
from jobs.campaigns.dry_run import changed, published_states, report
from jobs.campaigns.files import read_files
from jobs.campaigns.trial import Recorded, run_trial
from jobs.evaluate import METRICS, answer
from jobs.settings import Settings
from jobs.words import moment
from schemas import topics
from schemas.control import control_key
from schemas.decision import Decision
from schemas.errors import UserMistake
from schemas.learning import Example, Reward
from schemas.wire import encode

NO_EFFECT: Final = "nothing was published or sent, and nothing that was learned has moved"
_decision: Final = msgspec.json.Decoder(Decision).decode
_example: Final = msgspec.json.Decoder(Example).decode
_reward: Final = msgspec.json.Decoder(Reward).decode


def other_campaigns(
    settings: Settings,
    from_ms: int,
    to_ms: int,
    campaigns: Sequence[Path],
    model: str,
    *,
    as_json: bool,
) -> None:
    """Tell whom files or a model would have reached, and what of the log they would have kept.

    A campaign whose file says ``status: paused`` would not have spoken.

    Raises:
        UserMistake: a file is none of ours, the stream would refuse the model, or nothing was
            recorded.
    """
    before = in_force(control_log(settings), to_ms)
    files = [each.record for each in read_files(list(campaigns))] if campaigns else []
    after = changed(files)
    other = read_model(settings, model) if model else None
    if other is not None:
        after[control_key(other)] = encode(other)
    found = sorted(
        (each for each in inputs(settings) if each.user_id and from_ms <= each.came_ms < to_ms),
        key=_in_order,
    )
    if not found:
        raise UserMistake(
            f"nothing was recorded from {moment(from_ms)} to {moment(to_ms)}; begin with an "
            "earlier --from"
        )
    trial = run_trial(
        (
            Recorded(each.topic, each.user_id, each.payload, each.came_ms, each.partition)
            for each in found
        ),
        before,
        after,
        published_states(settings).get,
        until_ms=to_ms,
    )
    worth = changes(
        trial,
        map(_decision, between(settings, topics.DECISIONS, from_ms, to_ms)),
        map(_reward, between(settings, topics.REWARDS, from_ms)),
    )
    told = None if other is None else foretold(_log(settings, from_ms, to_ms), other)
    if as_json:
        said = msgspec.to_builtins(trial) | {"worth": msgspec.to_builtins(worth)}
        if told is not None:
            said["foretold"] = msgspec.to_builtins(told)
        typer.echo(json.dumps({k: v for k, v in said.items() if not k.startswith("sent_")}))
        return
    for line in (*report(trial, files), *sentences(worth)):
        typer.echo(line)
    if other is not None:
        typer.echo(sentence(told, other.version))
    typer.echo(NO_EFFECT)


def other_policy(
    settings: Settings, from_ms: int, to_ms: int, policy: str, *, as_json: bool
) -> None:
    """Tell what another policy of choosing channels would have earned, by the log's propensities.

    Raises:
        UserMistake: there is no such policy.
    """
    log = list(_log(settings, from_ms, to_ms))
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
    return newest(takewhile(lambda entry: entry.came_ms <= moment_ms, log))


def _log(settings: Settings, from_ms: int, to_ms: int) -> Iterator[Example | Reward]:
    """What was shown in a span of time, and all that came of it until now."""
    yield from map(_example, between(settings, topics.EXAMPLES, from_ms, to_ms))
    yield from map(_reward, between(settings, topics.REWARDS, from_ms))


def _in_order(each: Input) -> tuple[int, str, int, int]:
    return each.came_ms, each.topic, each.partition, each.offset
