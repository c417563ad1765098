"""How every model of the night is trained, sealed, kept and told of: one way for all of them."""

from __future__ import annotations

from datetime import UTC, datetime
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jobs.models.artefact import Artefact, save
from jobs.models.registry import Registry
from jobs.nightly import drawing
from jobs.nightly.base import Chart, Fact, StepReport, Table
from jobs.nightly.context import Context
from jobs.nightly.stopping import stopping
from jobs.trainers import TRAINERS
from jobs.trainers.base import Matrix, Sample, Setup, Trained
from jobs.trainers.card import Card
from jobs.trainers.learned import Learned, predict
from jobs.trainers.metrics import BINS
from jobs.trainers.tag import LEAST_CONFIDENCE

ARTEFACT: Final = "artefact.json"
TROUBLED: Final = 0.01
"""Calibration error above which somebody should look."""
IMPORTANCE: Final = 15


def train(context: Context, name: str, sample: Sample, file: str = ARTEFACT) -> Trained:
    """Train by the trainer of that name and seal what comes out as ``file``.

    Raises:
        StepStopped: the rows cannot be learned from.
    """
    with stopping():
        sample.check()
        newest = int(sample.at_ms[-1]) if len(sample.at_ms) else 0
        at = datetime.fromtimestamp(newest / 1_000, UTC)
        setup = Setup(
            f"{name}-{at:%Y%m%dT%H%MZ}-{context.seed}", newest, context.seed, context.quick
        )
        found = TRAINERS[name].fit(sample, setup)
        artefact = Artefact.of(found.model, found.card)
    save(context.output(file), artefact)
    return found


def keep(context: Context, found: Trained) -> bool:
    """Register a model that the night scores with; False where it is not worth using.

    One that does not beat its baseline is registered all the same, so that it can be looked into.

    Raises:
        StepStopped: the registry holds another of that version.
    """
    with stopping():
        Registry(context.data_dir).add(Artefact.of(found.model, found.card))
    return found.card.beats_baseline


def scores(found: Trained, rows: Matrix) -> Matrix:
    """What the sealed file of a night's model gives for rows of its inputs."""
    assert isinstance(found.model, Learned)
    return predict(found.model, rows)


def report(title: str, found: Trained, facts: tuple[Fact, ...] = ()) -> StepReport:
    """What there is to tell of any model: figures with intervals, folds, groups, curves."""
    card, measured = found.card, found.card.metrics
    counts = measured.error is not None
    more: tuple[Fact, ...] = ()
    if measured.error is not None:
        more = (
            Fact("error", str(measured.error), f"baseline {measured.base_error or 0:.4f}"),
            Fact("R²", round(measured.r2 or 0.0, 4)),
        )
    return StepReport(
        title,
        facts=(
            Fact("version", found.model.version, "sealed, in the registry"),
            Fact("concordance" if counts else "AUC", str(measured.auc), "95 % bootstrap"),
            Fact("log loss", str(measured.log_loss), f"{card.baseline}: "
                 f"{measured.base_log_loss:.4f}"),
            Fact("calibration error", round(measured.ece, 5), "relative" if counts else ""),
            *more,
            Fact("measured on", measured.rows, f"the newest rows of {card.rows:,}; none trained"),
            Fact("ONNX parity", card.parity, "largest difference to what was measured"),
            *facts,
        ),
        tables=(
            *(Table(name, columns, tuple(rows), note)
              for name, (columns, rows, note) in found.tables.items()),
            Table("Over time", ("trained on", "judged on", "log loss", "baseline"),
                  tuple((f.trained, f.judged, f.loss, f.base_loss) for f in card.folds),
                  "forward chaining: what was before foretells what came next"),
            Table("By group", ("group", "rows", "rate", "predicted", "AUC", "log loss"),
                  tuple((g.group, g.rows, g.rate, g.predicted, g.auc, g.log_loss)
                        for g in card.groups), "whether anybody fares worse than others"),
            Table("What moves it", ("input", "effect"),
                  tuple((n, round(v, 4)) for n, v in card.importance[:IMPORTANCE]),
                  card.notes[-1] if card.notes else ""),
            Table("Model card", ("", ""), tuple(_card(card))),
        ),
        charts=(_calibration(card), _lift(card)),
        warnings=tuple(_warnings(card)),
    )  # fmt: skip


def groups_of(users: NDArray[Any], told: Any, year: int) -> dict[str, NDArray[Any]]:
    """Groups that nobody should fare worse in, of rows of these customers.

    ``told`` is what `jobs.nightly.told` gives; of whom nothing is known, ``not told``.
    """
    if told is None or not len(told):
        return {}
    mine = told.reindex(users)
    born = mine["birth_year"].to_numpy(float)
    age = np.full(len(mine), "not told", dtype="<U12")
    for name, least, most in (("to 29", 0, 30), ("30 to 49", 30, 50), ("50 on", 50, 200)):
        age[(year - born >= least) & (year - born < most)] = name
    return {
        "gender": mine["gender"].fillna("not told").to_numpy(str),
        "age": age,
        "region": mine["region"].fillna("not told").to_numpy(str),
    }


def _card(card: Card) -> list[tuple[str, str]]:
    rows = [
        ("for", card.purpose),
        ("not for", card.not_for),
        ("data", f"{card.rows:,} rows, {card.window[0]} to {card.window[1]}"),
        ("must beat", card.baseline),
    ]
    return rows + [("note", note) for note in card.notes]


def _warnings(card: Card) -> list[str]:
    found = []
    if not card.beats_baseline:
        found.append(f"it does not beat {card.baseline}, and is not used")
    measured = card.metrics
    rate = measured.positives / max(1, measured.rows)
    noise = sqrt(rate * (1 - rate) * BINS / max(1, measured.rows))  # of a bin's own rate
    if measured.error is None and measured.ece > TROUBLED + noise:
        found.append(f"calibration error {measured.ece:.4f} is above {TROUBLED} and its noise")
    return found


def _calibration(card: Card) -> Chart:
    drawn, axes = drawing.figure()
    top = max((max(b.predicted, b.observed) for b in card.calibration), default=1.0)
    axes.plot([0, top], [0, top], color=drawing.SOFT)
    axes.plot([b.predicted for b in card.calibration], [b.observed for b in card.calibration],
              "o-", color=drawing.COOL)  # fmt: skip
    axes.set_xlabel("predicted")
    axes.set_ylabel("observed")
    return drawing.chart("Calibration", drawn, "bins of equally many rows")


def _lift(card: Card) -> Chart:
    drawn, axes = drawing.figure()
    axes.bar(range(1, len(card.lift) + 1), card.lift, color=drawing.COOL)
    axes.axhline(1, color=drawing.WARM)
    axes.set_xlabel("tenth by score, best first")
    axes.set_ylabel("times the mean")
    return drawing.chart("Lift", drawn)


def concluded(
    title: str,
    found: Trained,
    what: str,
    table: Any,
    *,
    told: int,
    unknown: NDArray[np.bool_],
    may: NDArray[np.bool_],
    asked: int,
) -> StepReport:
    """The report of a model by which a step concludes ``what`` of customers who did not tell it.

    ``table`` has who it was concluded of, with ``predicted_<what>``; ``told`` is how many did tell
    it, ``unknown`` who did not, ``may`` of whom it may be concluded, and of ``asked`` it was tried.
    """
    counts = table[f"predicted_{what}"].value_counts()
    return with_more(
        report(
            title,
            found,
            (
                Fact("told it", told, "who is learned from; of them nothing is concluded"),
                Fact("concluded of", len(table), f"of {int(unknown.sum()):,} who did not tell it"),
                Fact("not asked", int((unknown & ~may).sum()), "did not agree to marketing"),
                Fact("withheld", asked - len(table), f"less sure than {LEAST_CONFIDENCE}"),
            ),
        ),
        tables=(
            Table(
                "Concluded",
                (what, "customers"),
                tuple(sorted((str(each), int(count)) for each, count in counts.items())),
            ),
        ),
    )


def with_more(
    told: StepReport,
    tables: tuple[Table, ...] = (),
    charts: tuple[Chart, ...] = (),
    warnings: tuple[str, ...] = (),
) -> StepReport:
    """A report and what a step has to add to it."""
    return StepReport(
        told.title,
        told.facts,
        (*tables, *told.tables),
        (*charts, *told.charts),
        (*warnings, *told.warnings),
    )
