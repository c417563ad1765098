"""Put the night's winner into shadow in the running stream, or take the one on trial further."""

from __future__ import annotations

import time
from typing import Final

import msgspec
from confluent_kafka import KafkaException

from jobs.models.commands import announcer, look
from jobs.models.judge import Verdict
from jobs.models.registry import Registry
from jobs.models.rollout import ROLLED_BACK, Rules, State
from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from schemas.errors import UserMistake

BY: Final = "night"
_SHOWN: Final = 12
"""So many of the latest moves are told."""


def run(context: Context) -> StepReport:
    """Look at the model on trial first; a winner begins only where none is left.

    A version that was rolled back is not tried again by itself.

    Raises:
        StepStopped: no broker answers, or it did not take the move.
    """
    registry = Registry(context.data_dir)
    context.file(registry.root / "state.json")
    verdict_file = context.file(context.work_dir / "judge" / "verdict.json")
    now_ms = time.time_ns() // 1_000_000
    try:
        _, state, said = look(context.settings, Rules(), BY, now_ms)
        if verdict_file.exists() and not state.challenger:
            verdict = msgspec.json.decode(verdict_file.read_bytes(), type=Verdict)
            if why := _not_tried(verdict, state):
                said = f"{verdict.challenger}: {why}"
            else:
                state = registry.promote(
                    verdict.challenger, "shadow", 0.0, now_ms, BY, announcer(context.settings)
                )
                said = state.history[-1].why
    except (UserMistake, KafkaException) as error:
        raise StepStopped(f"the roll-out stays as it is: {error}") from error
    return _report(state, said)


def _not_tried(verdict: Verdict, state: State) -> str:
    """Why the night's model is not put into shadow; empty if it is."""
    if not verdict.won:
        return f"it did not win ({verdict.reason})"
    if verdict.challenger == state.champion:
        return "it is in force already"
    if any(move.version == verdict.challenger for move in state.history):
        return "it was on trial before; `beckon models promote` tries it again"
    return ""


def _report(state: State, said: str) -> StepReport:
    latest = state.history[-_SHOWN:]
    return StepReport(
        "The way into the stream",
        facts=(
            Fact("in force", state.champion or "none", "scores all who are not in a canary"),
            Fact("on trial", state.on_trial or "none", said),
            Fact("stage", state.stage or "settled"),
            Fact("scores", round(state.share, 3), "share of the customers"),
            Fact("held beside it", state.beside or "none", "hot: the way back is one record"),
        ),
        tables=(
            Table(
                "Moves",
                ("version", "stage", "by", "why"),
                tuple((move.version, move.stage, move.by, move.why) for move in latest),
            ),
        ),
        warnings=tuple(
            f"{move.version} was rolled back: {move.why}"
            for move in latest[-1:]
            if move.stage == ROLLED_BACK
        ),
    )
