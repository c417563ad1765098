"""When customers come back: Weibull's accelerated failure time, judged on a moment it never saw.

Rows are customers at moments; the target is the days until their next visit, or until the end of
what was seen. What trains is cut off where the rows that judge begin, as it was then.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from jobs.trainers import metrics
from jobs.trainers.base import Matrix, Sample, Setup, Trained, Trainer, named, split
from jobs.trainers.card import Card, Fold, data_window, evidence, forward
from jobs.trainers.learned import learned, run
from jobs.trainers.survival import Cox, Weibull, cox, weibull
from schemas.errors import UserMistake

NAMES: Final = ("visits_log", "orders_log", "views_per_visit_log", "idle_days_log")
INPUTS: Final = (*NAMES, "days_log")
"""The file is asked about each row with the days that one looks ahead."""

LOST_DAYS: Final = 7.0
COX_ROWS: Final = 20_000
FIT_ROWS: Final = 200_000
LEAST_JUDGED: Final = 50
_DAY_MS: Final = 86_400_000


def fit(sample: Sample, setup: Setup) -> Trained:
    """Fit, recalibrate on the moment after, judge on the newest; see `Trainer`.

    Raises:
        UserMistake: too few came back, or a duration that is not positive.
    """
    from jobs.trainers import graphs

    sample.check()
    if sample.seen is None:
        raise UserMistake("durations need to say which were seen to their end")
    rng = np.random.default_rng((setup.seed, 81))
    trained, cut = split(sample.at_ms)
    edge_ms, cut_ms = int(sample.at_ms[trained]), int(sample.at_ms[cut])
    known = slice(0, trained)
    rows = np.sort(rng.permutation(trained)[:FIT_ROWS])
    x = sample.features
    days, seen = censored(sample, known, edge_ms)
    raw = weibull(sample.names, x[rows], days[rows], seen[rows])
    later, closed = censored(sample, slice(trained, cut), cut_ms)
    model = recalibrated(raw, x[trained:cut], later, closed)
    horizon, mine, labels = within(sample, cut)
    base = 1 - float(raw.base_survival(horizon))
    scores = 1 - model.survival(x[cut:][mine], horizon)
    data = graphs.linear(
        [*(-model.shape * np.array(model.slopes)).tolist(), model.shape],
        -model.shape * model.intercept,
        "cloglog",
    )
    asked = np.column_stack((x[cut:][mine], np.full(len(scores), np.log(horizon))))
    drivers = cox(_frame(sample, rows[:COX_ROWS], days, seen), "days", "returned")
    card = Card(
        purpose=f"P(comes back within some days), and the risk of not within {LOST_DAYS:g}",
        not_for="judging people; it knows visits, not why they end",
        window=data_window(sample.at_ms),
        rows=len(sample.target),
        trained_until_ms=cut_ms - 1,
        baseline="the same Weibull curve for everybody",
        notes=(
            f"judged by who came back within {horizon:.3g} days",
            f"Weibull, shape {model.shape:.4f}; log likelihood {raw.log_likelihood:.1f}, without "
            f"inputs {raw.base_log_likelihood:.1f}; {int(seen.sum())} of {len(seen)} ends were "
            "seen, the others are censored",
            "importance is the log of the days that one standard deviation multiplies by",
        ),
        folds=_folds(sample, trained),
        importance=sorted(
            zip(sample.names, (np.array(model.slopes) * x.std(axis=0)).tolist(), strict=True),
            key=lambda pair: -abs(pair[1]),
        ),
        parity=float(np.abs(run(data, asked) - scores).max()),
        **evidence(sample, cut, labels, scores, base, setup, mine),
    )
    version = named(setup.version, data)
    inputs = (*sample.names, "days_log")
    record = learned("contact", version, data, inputs, asked, setup.updated_ms)
    return Trained(record, card, {"What drives a return (Cox)": _told(drivers)})


def censored(sample: Sample, part: slice, end_ms: int) -> tuple[Matrix, Matrix]:
    """Days and whether their end was seen, as they were known at ``end_ms``."""
    assert sample.seen is not None
    limit = np.maximum((end_ms - sample.at_ms[part]) / _DAY_MS, 1e-6)
    days = np.minimum(sample.target[part], limit)
    seen = sample.seen[part] * (sample.target[part] <= limit)
    return days, seen


def within(
    sample: Sample, cut: int
) -> tuple[float, np.ndarray[tuple[int], np.dtype[np.bool_]], Matrix]:
    """How far ahead the newest rows can judge, which of them can, and whether they came back."""
    assert sample.seen is not None
    days, seen = sample.target[cut:], sample.seen[cut:] == 1
    open_ = days[~seen]
    horizon = min(LOST_DAYS, float(open_.min()) if len(open_) else float(days.max()))
    mine = seen | (days >= horizon)
    labels = (seen & (days <= horizon))[mine].astype(float)
    if min(labels.sum(), len(labels) - labels.sum()) < LEAST_JUDGED:
        raise UserMistake(
            f"{int(labels.sum())} of {len(labels)} customers came back within {horizon:.3g} days; "
            f"{LEAST_JUDGED} of either kind are needed to judge by. Take more days"
        )
    return horizon, mine, labels


def recalibrated(model: Weibull, x: Matrix, days: Matrix, seen: Matrix) -> Weibull:
    """The same order of customers, with level and spread as a later moment has them.

    A Weibull of the model's own log scale is the model again with three figures moved, so that
    nothing has to be kept beside it.
    """
    if seen.sum() < LEAST_JUDGED:
        return model
    inner = np.log(model.scale(x))[:, None]
    again = weibull(("inner",), inner, days, seen)
    factor = again.slopes[0]
    if not factor > 0:
        return model
    return Weibull(
        names=model.names,
        intercept=again.intercept + factor * model.intercept,
        slopes=tuple(factor * slope for slope in model.slopes),
        shape=again.shape,
        log_likelihood=model.log_likelihood,
        base_log_likelihood=model.base_log_likelihood,
        base_intercept=model.base_intercept,
        base_shape=model.base_shape,
    )


def _folds(sample: Sample, trained: int) -> tuple[Fold, ...]:
    """Forward chaining; the loss is of the chance to be back within what the fold can see."""
    found = []
    assert sample.seen is not None
    for old, new in forward(trained, sample.at_ms):
        begin_ms = int(sample.at_ms[new][0])
        days, seen = censored(sample, old, begin_ms)
        try:
            model = weibull(sample.names, sample.features[old], days, seen)
            part = sample._replace(
                features=sample.features[: new.stop],
                target=sample.target[: new.stop],
                at_ms=sample.at_ms[: new.stop],
                seen=sample.seen[: new.stop],
                groups={},
            )
            horizon, mine, labels = within(part, new.start)
        except UserMistake:
            continue  # a fold in which too little happened says nothing
        scores = 1 - model.survival(part.features[new.start :][mine], horizon)
        base = np.full(len(labels), 1 - float(model.base_survival(horizon)))
        lost, idle = (float(metrics.losses(labels, each).mean()) for each in (scores, base))
        found.append(Fold(old.stop, len(labels), lost, idle))
    return tuple(found)


def _frame(sample: Sample, rows: Matrix, days: Matrix, seen: Matrix) -> object:
    import pandas as pd

    frame = pd.DataFrame(sample.features[rows], columns=list(sample.names))
    frame = frame.loc[:, frame.std() > 1e-9]
    frame["days"], frame["returned"] = days[rows], seen[rows]
    return frame


def _told(found: Cox) -> tuple[tuple[str, ...], list[tuple[object, ...]], str]:
    return (
        ("input", "hazard ratio", "low", "high", "p", "proportional p"),
        [(h.name, h.ratio, h.low, h.high, h.p, h.proportional_p) for h in found.hazards],
        f"above 1 brings them back sooner; concordance {found.concordance:.3f} over {found.rows:,} "
        "rows; where the last column is below 0.01 the effect changes over time",
    )


TRAINER: Final = Trainer("duration", fit, NAMES)
