"""The click model: trained, calibrated, measured, and written as an artefact to be judged."""

from __future__ import annotations

from datetime import UTC, datetime
from math import exp

import numpy as np

from jobs.models.artefact import Artefact, Card, data_window, save
from jobs.nightly import drawing, examples
from jobs.nightly.base import Chart, Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.trainers.ctr_study import Study, study
from schemas.errors import UserMistake
from scoring.features import FEATURES, MEANING

_RANK = FEATURES.index("member_rank")


def run(context: Context) -> StepReport:
    """Train on the night's examples.

    Raises:
        StepStopped: the examples are not there, or cannot be learned from.
    """
    rows = examples.read(context)
    at = datetime.fromtimestamp(int(rows.at_ms[-1]) / 1_000, UTC)
    ranks = np.asarray(rows.features[:, _RANK]).astype(int)
    try:
        found = study(
            np.asarray(rows.features),
            rows.labels,
            {"campaign": rows.campaign, "channel": rows.channel, "member rank": ranks},
            version=f"ctr-{at:%Y%m%dT%H%MZ}-{context.seed}",
            updated_ms=int(rows.at_ms[-1]),
            seed=context.seed,
            quick=context.quick,
        )
    except UserMistake as mistake:
        raise StepStopped(str(mistake)) from mistake
    card = Card(
        purpose="P(clicked | this message is shown), to rank campaigns and to value offers",
        not_for="choosing the channel, which is the bandit's; customers without marketing consent",
        window=data_window(rows.at_ms),
        rows=len(rows.labels),
        trained_until_ms=int(rows.at_ms[found.test_from - 1]),
        metrics=found.metrics,
        baseline="the mean for everybody",
        groups=found.groups,
        notes=(
            f"logistic regression, C = {found.c}; negatives down-sampled, prior corrected; Platt "
            f"slope {found.platt[0]:.4f}, shift {found.platt[1]:+.4f}, folded into the weights",
        ),
    )
    save(context.output("artefact.json"), Artefact.of(found.model, card))
    return _report(found)


def _report(found: Study) -> StepReport:
    measured = found.metrics
    warnings = []
    if measured.log_loss.value >= measured.base_log_loss:
        warnings.append("it does not beat the mean for everybody")
    if measured.ece > 0.01:
        warnings.append(f"calibration error {measured.ece:.4f} is above 0.01")
    return StepReport(
        "Click model",
        facts=(
            Fact("version", found.model.version),
            Fact("AUC", str(measured.auc), "95 % bootstrap, on the newest fifth"),
            Fact("log loss", str(measured.log_loss), f"baseline {measured.base_log_loss:.4f}"),
            Fact("ECE", round(measured.ece, 5)),
            Fact("C", found.c, "of least log loss, trained on before, measured on after"),
            Fact("clicks measured on", measured.positives, f"of {measured.rows}"),
        ),
        tables=(
            Table("Ways with rare clicks", ("way", "AUC", "log loss", "ECE"),
                  tuple((w.name, w.auc, w.log_loss, w.ece) for w in found.ways),
                  "SMOTE only to compare: it teaches a wrong rate"),
            Table("By group", ("group", "rows", "rate", "predicted", "AUC", "log loss"),
                  tuple((g.group, g.rows, g.rate, g.predicted, g.auc, g.log_loss)
                        for g in found.groups)),
            Table("What moves it", ("feature", "odds x, one deviation", "meaning"),
                  tuple((name, round(exp(slope), 3), MEANING[name])
                        for name, slope in found.importance[:15])),
            Table("Strength searched", ("C", "log loss"), tuple(found.searched.items())),
        ),
        charts=(_calibration(found), _lift(found)),
        warnings=tuple(warnings),
    )  # fmt: skip


def _calibration(found: Study) -> Chart:
    drawn, axes = drawing.figure()
    top = max(max(b.predicted, b.observed) for b in found.calibration)
    axes.plot([0, top], [0, top], color=drawing.SOFT)
    axes.plot([b.predicted for b in found.calibration], [b.observed for b in found.calibration],
              "o-", color=drawing.COOL)  # fmt: skip
    axes.set_xlabel("predicted")
    axes.set_ylabel("observed")
    return drawing.chart("Calibration", drawn, "twenty bins of equally many rows")


def _lift(found: Study) -> Chart:
    drawn, axes = drawing.figure()
    axes.bar(range(1, len(found.lift) + 1), found.lift, color=drawing.COOL)
    axes.axhline(1, color=drawing.WARM)
    axes.set_xlabel("tenth by score, best first")
    axes.set_ylabel("times the mean rate")
    return drawing.chart("Lift", drawn)
