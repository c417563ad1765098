"""What the simulator knows and the night had to find out; and cases that are known by heart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from rich.console import Console

from jobs.analytics.budget import Line, split
from jobs.analytics.encoding import tf_idf
from jobs.market.archive import write_archive
from jobs.models.artefact import load
from jobs.nightly import STEPS, examples
from jobs.nightly.budget import DOCUMENTS, DOCUMENTS_MONEY
from jobs.nightly.context import Context
from jobs.nightly.runner import run_step
from jobs.trainers import metrics

TASTES = ("quality", "examples", "ctr")
"""Steps of the night on the market's own truth."""


def against_truth(archive: Path, data: Path, day: date) -> dict[str, float]:
    """The model's AUC and calibration on rows it never saw, beside the truth's own."""
    context = Context("prove", archive_dir=archive, data_dir=data, day=day)
    rows = examples.read(context)
    artefact = load(context.result("ctr", "artefact.json"))
    unseen = rows.at_ms > artefact.card.trained_until_ms
    likely: dict[str, float] = {}
    for path in sorted((archive / "truth").glob("day=*/*.parquet")):
        table = pq.read_table(path, partitioning=None)
        names, values = (table[name].to_pylist() for name in table.column_names)
        likely.update(zip(names, values, strict=True))
    truth = np.array([likely[name] for name in rows.decision[unseen].tolist()])
    labels = rows.labels[unseen]
    return {
        "auc": round(artefact.card.metrics.auc.value, 5),
        "auc_truth": round(metrics.auc(labels, truth), 5),
        "ece": round(artefact.card.metrics.ece, 5),
        "log_loss": round(artefact.card.metrics.log_loss.value, 6),
        "log_loss_truth": round(float(metrics.losses(labels, truth).mean()), 6),
    }


def by_tastes(folder: Path, day: date, *, quick: bool) -> dict[str, float]:
    """The same where clicks come of the market's own tastes, of which no feature shows more than a
    shadow: the truth knows each customer's likings and the channel, the model neither.

    ``trees`` is the AUC of boosted trees on the very same features: if they get no further, it is
    not for being linear that the model stays behind.
    """
    archive, data = folder / "archive", folder / "data"
    write_archive(
        archive, customers=2_000 if quick else 10_000, examples=30_000 if quick else 150_000,
        days=7, last=day, seed=9, truth="tastes", console=Console(quiet=True),
    )  # fmt: skip
    for name in TASTES:
        context = Context(name, archive_dir=archive, data_dir=data, day=day,
                          console=Console(quiet=True), quick=True)  # fmt: skip
        manifest, _ = run_step(STEPS[name], context)
        if manifest.status != "done":
            raise RuntimeError(f"{name}: {manifest.reason}")
    found = against_truth(archive, data, day)
    return {
        "tastes_auc": found["auc"],
        "tastes_auc_truth": found["auc_truth"],
        "tastes_auc_trees": round(_trees(archive, data, day), 5),
        "tastes_ece": found["ece"],
    }


def _trees(archive: Path, data: Path, day: date) -> float:
    """The AUC, on the rows that the model was judged by, of trees that may bend as they like."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    context = Context("prove", archive_dir=archive, data_dir=data, day=day)
    rows = examples.read(context)
    until = load(context.result("ctr", "artefact.json")).card.trained_until_ms
    old, new = rows.at_ms <= until, rows.at_ms > until
    trees = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.05, random_state=1)
    trees.fit(np.asarray(rows.features[old]), rows.labels[old])
    return metrics.auc(rows.labels[new], trees.predict_proba(np.asarray(rows.features[new]))[:, 1])


def genders(archive: Path, data: Path, day: date) -> dict[str, float]:
    """Of how many customers who kept it to themselves a gender is concluded, and how often it is
    right.
    """
    said = pd.read_parquet(data / "nightly" / day.isoformat() / "gender" / "tags.parquet")
    truth = pd.read_parquet(archive / "truth" / "people.parquet").set_index("user_id")["gender"]
    right = said["predicted_gender"].to_numpy() == truth.reindex(said["user_id"]).to_numpy()
    return {
        "gender_concluded": len(said),
        "gender_right": round(float(right.mean()), 4) if len(said) else 0.0,
        "gender_confidence": round(float(said["gender_confidence"].mean()), 4) if len(said) else 0,
    }


def by_heart() -> dict[str, float]:
    """Cases with a known answer: a tag's weight, and a budget's best split."""
    lines = [
        Line("case", name, ((cost * most, worth / cost),), cost * least)
        for name, cost, worth, most, least in DOCUMENTS
    ]
    return {
        "tf_idf": round(tf_idf(1 / 3, 100_000, 10_000), 3),
        "budget_case": round(split(lines, DOCUMENTS_MONEY).value, 2),
    }


def registered(found: Callable[[str], Any], versions: list[str]) -> int:
    """How many kinds of models are in the registry, each proved as it is read."""
    return len({found(version).made.id for version in versions})
