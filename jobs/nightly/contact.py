"""When to speak: each customer's hour, the risk that they are lost, and what brings them back."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.quality import admit
from jobs.trainers import metrics, survival
from jobs.trainers.base import Matrix
from schemas.errors import UserMistake

FILE: Final = "contact.parquet"
DAYS: Final = 30
SESSION_MS: Final = 1_800_000
DAY_MS: Final = 86_400_000
LOST_DAYS: Final = 7.0
COX_ROWS: Final = 20_000
COVARIATES: Final = ("visits_log", "orders_log", "views_per_visit_log")


def run(context: Context) -> StepReport:
    """Fit the time to the next visit, and write hour and risk of each customer.

    Raises:
        StepStopped: the events are not fit, or too few came back to tell.
    """
    import pandas as pd

    admit(context, "events")
    events = _events(context)
    end_ms = (context.day.toordinal() - 719_162) * DAY_MS
    people, counts = _customers(events)
    # Trained on who was known half-way; what came of them after is what it must foretell.
    span = max(2.0, float(end_ms - int(events["ts"].min())) / DAY_MS)
    cut_ms = int(end_ms - span / 3 * DAY_MS)
    try:
        x, days, seen, _ = _risk_set(events, cut_ms, end_ms)
        fitted = survival.weibull(COVARIATES, x, days, seen)
        chosen = np.random.default_rng((context.seed, 81)).permutation(len(days))[:COX_ROWS]
        frame = pd.DataFrame(x[chosen], columns=list(COVARIATES))
        frame["days"], frame["returned"] = days[chosen], seen[chosen]
        drivers = survival.cox(frame, "days", "returned")
    except UserMistake as mistake:
        raise StepStopped(str(mistake)) from mistake
    now_x, idle = _state(people, end_ms)
    risk = 1 - fitted.within(now_x, idle, LOST_DAYS)
    hours, own = survival.best_hours(counts, np.zeros(len(counts)))
    pd.DataFrame(
        {
            "user_id": people.index.to_numpy(),
            "churn_risk": np.clip(risk, 0, 1),
            "best_hour": hours,
            "own_share": own,
            "median_days": np.minimum(fitted.median_days(now_x), 3_650),
        }
    ).to_parquet(context.output(FILE), index=False)
    half = (span / 6) if span > 4 else 1.0
    closed = (seen == 1) | (days >= half)
    labels = ((seen == 1) & (days <= half))[closed].astype(float)
    ranks = 1 - fitted.survival(x[closed], half)
    return StepReport(
        "When to speak",
        facts=(
            Fact("customers", len(people)),
            Fact("returned after the cut", int(seen.sum()), f"of {len(seen)}, the rest censored"),
            Fact("Weibull shape", round(fitted.shape, 4), "below 1: sooner at first"),
            Fact("log likelihood", round(fitted.log_likelihood, 1),
                 f"without covariates {fitted.base_log_likelihood:.1f}"),
            Fact(f"AUC of a return within {half:.1f} days", round(metrics.auc(labels, ranks), 4)),
            Fact("concordance of Cox", round(drivers.concordance, 4)),
        ),
        tables=(
            Table("What drives a return (Cox)",
                  ("covariate", "hazard ratio", "low", "high", "p", "proportional p"),
                  tuple((h.name, h.ratio, h.low, h.high, h.p, h.proportional_p)
                        for h in drivers.hazards)),
        ),
        warnings=tuple(
            f"the effect of {h.name} changes over time (p {h.proportional_p:.3g})"
            for h in drivers.hazards
            if h.proportional_p < 0.01
        ),
    )  # fmt: skip


def _events(context: Context) -> Any:
    import pandas as pd
    from pyarrow.parquet import read_table

    frames = [
        read_table(path, columns=["user_id", "ts", "action"], partitioning=None).to_pandas()
        for path in context.table("events", DAYS)
    ]
    return pd.concat(frames, ignore_index=True).sort_values(["user_id", "ts"], kind="stable")


def _customers(events: Any) -> tuple[Any, Matrix]:
    """Per customer: visits, orders, views, last time; and visits by hour of the day."""
    new = (events["user_id"] != events["user_id"].shift()) | (events["ts"].diff() > SESSION_MS)
    starts = events[new]
    people = events.groupby("user_id", sort=True).agg(last=("ts", "max"))
    people["visits"] = starts.groupby("user_id").size()
    for name, action in (("orders", "purchase"), ("views", "view")):
        people[name] = events[events["action"] == action].groupby("user_id").size()
    people = people.fillna(0)
    place = people.index.get_indexer(starts["user_id"])
    hour = (starts["ts"].to_numpy() // 3_600_000 % 24).astype(int)
    counts = np.bincount(place * 24 + hour, minlength=24 * len(people)).reshape(-1, 24)
    return people, counts.astype(float)


def _state(people: Any, now_ms: int) -> tuple[Matrix, Matrix]:
    visits = people["visits"].to_numpy(float)
    x = np.column_stack(
        (np.log1p(visits), np.log1p(people["orders"].to_numpy(float)),
         np.log1p(people["views"].to_numpy(float) / np.maximum(visits, 1))),
    )  # fmt: skip
    return x, np.maximum((now_ms - people["last"].to_numpy(float)) / DAY_MS, 1e-3)


def _risk_set(events: Any, cut_ms: int, end_ms: int) -> tuple[Matrix, Matrix, Matrix, Any]:
    """Everybody known at the cut: days from it to the next event, or to the end, unseen."""
    people, _ = _customers(events[events["ts"] < cut_ms])
    later = events[events["ts"] >= cut_ms].groupby("user_id")["ts"].min()
    back = later.reindex(people.index).to_numpy(float)
    seen = np.isfinite(back)
    days = (np.where(seen, back, end_ms) - cut_ms) / DAY_MS
    return _state(people, cut_ms)[0], np.maximum(days, 1e-4), seen.astype(float), people.index
