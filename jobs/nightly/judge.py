"""Champion against challenger on the latest day that neither has seen; the winner is registered."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from jobs.models.artefact import Artefact, load
from jobs.models.judge import Verdict, judge
from jobs.models.registry import Registry
from jobs.nightly import examples
from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.runner import write
from schemas.errors import UserMistake
from scoring.features import FEATURE_HASH
from scoring.model import LogisticModel, prior_model, verify

DAY_MS = 86_400_000
NOBODY = "mean"


def run(context: Context) -> StepReport:
    """Judge the night's click model; it is kept, win or lose, and only a winner may be announced.

    Raises:
        StepStopped: the artefact or the champion is not what was sealed.
    """
    registry = Registry(context.data_dir)
    state = registry.state
    context.file(registry.root / "state.json")
    try:
        found = load(context.result("ctr", "artefact.json"))
        reigning = registry.artefact(state.champion) if state.champion else None
    except UserMistake as mistake:
        raise StepStopped(str(mistake)) from mistake
    if reigning is not None and reigning.model.version == found.model.version:
        return StepReport(
            "What is promoted, and why",
            facts=(Fact("champion", found.model.version, "in force already; nothing new"),),
        )
    rows = examples.read(context)
    unseen = max(_trained_until(found), _trained_until(reigning))
    latest = int(rows.at_ms[-1])
    mine = (rows.at_ms > unseen) & (rows.at_ms > latest - DAY_MS)
    labels = rows.labels[mine]
    if reigning is None:
        rate = float(rows.labels[rows.at_ms <= unseen].mean())
        champion = LogisticModel(NOBODY, FEATURE_HASH, *_everybody(rate))
    else:
        champion = verify(reigning.model)
    verdict = judge(
        champion,
        verify(found.model),
        np.asarray(rows.features[mine]),
        labels,
        rows.user[mine],
        {"campaign": rows.campaign[mine], "channel": rows.channel[mine]},
        rng=np.random.default_rng((context.seed, 71)),
        size_bytes=len(found.model.onnx) * 3 // 4,
    )
    try:
        registry.add(found, verdict)
    except UserMistake as mistake:
        raise StepStopped(str(mistake)) from mistake
    write(context.output("verdict.json"), verdict)
    since = datetime.fromtimestamp(max(unseen, latest - DAY_MS) / 1_000, UTC)
    return _report(verdict, f"examples since {since:%Y-%m-%d %H:%M} UTC")


def _everybody(rate: float) -> tuple[tuple[float, ...], float]:
    model = prior_model(min(max(rate, 1e-6), 1 - 1e-6))
    return model.weights, model.bias


def _trained_until(artefact: Artefact | None) -> int:
    return 0 if artefact is None else artefact.card.trained_until_ms


def _report(verdict: Verdict, on: str) -> StepReport:
    next_command = f"beckon models promote {verdict.challenger} --to shadow"
    return StepReport(
        "What is promoted, and why",
        facts=(
            Fact("challenger", verdict.challenger),
            Fact("champion", verdict.champion, f"{NOBODY!r} is what holds while there is no model"),
            Fact("verdict", "won" if verdict.won else "lost", verdict.reason or next_command),
            Fact("judged on", verdict.rows, on),
            Fact("confidence", verdict.confidence, "one-sided, paired bootstrap over customers"),
        ),
        tables=(
            Table("What was looked at", ("check", "passed", "champion", "challenger", "note"),
                  tuple((c.name, c.passed, c.champion, c.challenger, c.note)
                        for c in verdict.checks)),
        ),
    )  # fmt: skip
