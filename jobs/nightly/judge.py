"""Champion against challenger on the latest day that neither has seen; the winner is registered."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from jobs.models.artefact import Artefact, load
from jobs.models.judge import Verdict, judge
from jobs.models.registry import Registry
from jobs.nightly import examples
from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.models import ARTEFACT
from jobs.nightly.runner import write
from schemas.errors import UserMistake
from scoring.features import FEATURE_HASH
from scoring.model import LogisticModel, prior_model, verify

DAY_MS = 86_400_000
NOBODY = "mean"
TITLE = "What is promoted, and why"


CANDIDATES = ("ctr", "online")
"""The steps whose models want to be in force; the first must be there."""


def run(context: Context) -> StepReport:
    """Judge the night's click models, one after the other; only a winner may be announced.

    Each must beat whoever is the best so far: the champion in force, or a candidate that has beaten
    it. All are kept, win or lose.

    Raises:
        StepStopped: an artefact or the champion is not what was sealed.
    """
    registry = Registry(context.data_dir)
    state = registry.state
    context.file(registry.root / "state.json")
    try:
        candidates = [load(path) for path in _artefacts(context)]
        best = registry.artefact(state.champion) if state.champion else None
    except UserMistake as mistake:
        raise StepStopped(str(mistake)) from mistake
    rows = examples.read(context)
    judged: list[tuple[Verdict, str]] = []
    for found in candidates:
        if found.version == state.champion:
            continue
        verdict, on = _against(best, found, rows, context.seed)
        try:
            registry.add(found, verdict)
        except UserMistake as mistake:
            raise StepStopped(str(mistake)) from mistake
        judged.append((verdict, on))
        if verdict.won:
            best = found
    if not judged:
        return StepReport(TITLE, facts=(Fact("champion", state.champion, "nothing new"),))
    # The last to win has beaten all before it; of losers the night's own is told of.
    last = next((each for each, _ in reversed(judged) if each.won), judged[0][0])
    write(context.output("verdict.json"), last)
    return _report(judged, last)


def _artefacts(context: Context) -> list[Path]:
    first, *others = CANDIDATES
    more = [context.file(context.work_dir / name / ARTEFACT) for name in others]
    return [context.result(first, ARTEFACT), *(path for path in more if path.exists())]


def _against(
    best: Artefact | None, found: Artefact, rows: examples.Labelled, seed: int
) -> tuple[Verdict, str]:
    """The gate's verdict, and on what rows: those of the latest day that neither has seen."""
    unseen = max(_trained_until(found), _trained_until(best))
    latest = int(rows.at_ms[-1])
    mine = (rows.at_ms > unseen) & (rows.at_ms > latest - DAY_MS)
    if best is None:
        rate = float(rows.labels[rows.at_ms <= unseen].mean())
        champion = LogisticModel(NOBODY, FEATURE_HASH, *_everybody(rate))
    else:
        champion = verify(best.model)
    verdict = judge(
        champion,
        verify(found.model),
        np.asarray(rows.features[mine]),
        rows.labels[mine],
        rows.user[mine],
        {"campaign": rows.campaign[mine], "channel": rows.channel[mine]},
        rng=np.random.default_rng((seed, 71)),
        size_bytes=len(found.model.onnx) * 3 // 4,
    )
    since = datetime.fromtimestamp(max(unseen, latest - DAY_MS) / 1_000, UTC)
    return verdict, f"{verdict.rows:,} examples since {since:%Y-%m-%d %H:%M} UTC"


def _everybody(rate: float) -> tuple[tuple[float, ...], float]:
    model = prior_model(min(max(rate, 1e-6), 1 - 1e-6))
    return model.weights, model.bias


def _trained_until(artefact: Artefact | None) -> int:
    return 0 if artefact is None else artefact.card.trained_until_ms


def _report(judged: list[tuple[Verdict, str]], last: Verdict) -> StepReport:
    return StepReport(
        TITLE,
        facts=(
            Fact("champion", judged[0][0].champion, f"{NOBODY!r} is what holds without a model"),
            Fact("verdict", "won" if last.won else "lost",
                 f"{last.challenger} goes into shadow, by the step rollout" if last.won
                 else "what is in force stays"),
            *(Fact(verdict.challenger, "won" if verdict.won else "lost", _against_whom(verdict, on))
              for verdict, on in judged),
            Fact("confidence", last.confidence, "one-sided, paired bootstrap over customers"),
        ),
        tables=tuple(
            Table(
                f"What was looked at in {verdict.challenger}",
                ("check", "passed", "before", "candidate", "note"),
                tuple((c.name, c.passed, c.champion, c.challenger, c.note)
                      for c in verdict.checks),
            )
            for verdict, _ in judged
        ),
    )  # fmt: skip


def _against_whom(verdict: Verdict, on: str) -> str:
    why = "" if verdict.won else f": {verdict.reason}"
    return f"against {verdict.champion}, on {on}{why}"
