"""When to speak: each customer's hour, the risk that they are lost, and what brings them back."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from jobs.nightly import models, reading, told
from jobs.nightly.base import Fact, StepReport, Table
from jobs.nightly.context import Context
from jobs.trainers import contact, survival
from jobs.trainers.base import Matrix, Sample

FILE: Final = "contact.parquet"
TAGS_FILE: Final = "tags.parquet"
SESSION_MS: Final = 1_800_000
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
MOMENTS: Final = 6
RISKS: Final = (0.25, 0.5, 0.75)


def run(context: Context) -> StepReport:
    """Fit the time to the next visit; write risk and hour of each customer, and as tags.

    Rows are customers at moments that part the archive's days evenly.

    Raises:
        StepStopped: the events are not fit, or too few came back to tell.
    """
    import pandas as pd

    events = reading.events(context, ())
    end_ms = (context.day.toordinal() - 719_162) * DAY_MS
    first = int(events["ts"].iloc[0])
    people = told.read(context)
    users = np.asarray(events["user_id"].cat.categories)
    at = reading.moments(first, end_ms, MOMENTS)
    parts = [_risk_set(events, moment, end_ms) for moment in at]
    mine = np.concatenate([part[0] for part in parts])
    sample = Sample(
        contact.NAMES,
        np.vstack([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
        np.repeat(at, [len(part[0]) for part in parts]),
        models.groups_of(users[mine], people, context.day.year),
        seen=np.concatenate([part[3] for part in parts]),
    )
    found = models.train(context, "contact", sample)
    used = models.keep(context, found)
    here, x = _state(events, end_ms)
    ahead = np.full(len(here), np.log(contact.LOST_DAYS))
    risk = np.clip(1 - models.scores(found, np.column_stack((x, ahead))), 0, 1)
    counts = _hours(events, told.hours_ahead(people, users, end_ms))[here]
    groups = _segments(context, users[here])
    hours, own = survival.best_hours(counts, groups)
    table = pd.DataFrame(
        {"user_id": users[here], "churn_risk": risk, "best_hour": hours, "own_share": own}
    )
    table.to_parquet(context.output(FILE), index=False)
    tags = table[["user_id", "best_hour"]]
    if used:
        tags = tags.assign(churn_risk=np.round(risk, 4))
    tags.to_parquet(context.output(TAGS_FILE), index=False)
    return models.with_more(
        models.report(
            "When to speak",
            found,
            (
                Fact("customers", len(table), "with an hour and a risk"),
                Fact("hours that are mostly their own", int((own > 0.5).sum()),
                     "the others lean on the habit of their segment"),
            ),
        ),
        tables=(
            Table("Risk to be lost", ("risk above", "customers"),
                  tuple((level, int((risk > level).sum())) for level in RISKS),
                  f"of not coming back within {contact.LOST_DAYS:g} days"),
            Table("Best hour, where they live", ("hour", "customers"),
                  tuple((int(h), int((hours == h).sum())) for h in np.unique(hours))),
        ),
    )  # fmt: skip


def _starts(events: Any) -> Any:
    """Where in the order of time a visit of a customer begins."""
    ordered = events.sort_values(["user_id", "ts"], kind="stable")
    codes, at = ordered["user_id"].cat.codes.to_numpy(), ordered["ts"].to_numpy()
    new = np.ones(len(at), bool)
    new[1:] = (codes[1:] != codes[:-1]) | (np.diff(at) > SESSION_MS)
    return codes[new], at[new]


def _hours(events: Any, ahead: Matrix) -> Matrix:
    """Visits of each customer by the hour of their own day."""
    codes, at = _starts(events)
    hour = np.floor(at / HOUR_MS + ahead[codes]).astype(np.int64) % 24
    count = len(events["user_id"].cat.categories)
    cells = codes.astype(np.int64) * 24 + hour
    return np.bincount(cells, minlength=count * 24).reshape(count, 24).astype(float)


def _state(events: Any, now_ms: int) -> tuple[Any, Matrix]:
    """Which customers are known at a time, and their inputs (`contact.NAMES`)."""
    past = events.iloc[: int(np.searchsorted(events["ts"].to_numpy(), now_ms))]
    count = len(events["user_id"].cat.categories)
    codes, action = past["user_id"].cat.codes.to_numpy(), past["action"].to_numpy(str)
    newest = np.zeros(count, np.int64)
    np.maximum.at(newest, codes, past["ts"].to_numpy())
    visits = np.bincount(_starts(past)[0], minlength=count).astype(float)
    orders, views = (
        np.bincount(codes[action == name], minlength=count).astype(float)
        for name in ("purchase", "view")
    )
    mine = np.flatnonzero(visits)
    inputs = np.column_stack(
        (
            np.log1p(visits[mine]),
            np.log1p(orders[mine]),
            np.log1p(views[mine] / visits[mine]),
            np.log1p(np.maximum(now_ms - newest[mine], 0) / DAY_MS),
        )
    )
    return mine, inputs


def _risk_set(events: Any, moment: int, end_ms: int) -> tuple[Any, Matrix, Matrix, Matrix]:
    """Everybody known at a moment: inputs, days to the next event, or to the end, unseen."""
    mine, x = _state(events, moment)
    place = int(np.searchsorted(events["ts"].to_numpy(), moment))
    later = events.iloc[place:]
    back = np.full(len(events["user_id"].cat.categories), np.inf)
    np.minimum.at(back, later["user_id"].cat.codes.to_numpy(), later["ts"].to_numpy(float))
    seen = np.isfinite(back[mine])
    days = (np.where(seen, back[mine], end_ms) - moment) / DAY_MS
    return mine, x, np.maximum(days, 1e-4), seen.astype(float)


def _segments(context: Context, users: Any) -> Any:
    """The segment of each customer, by which an hour is shrunk; all are one where none is told."""
    import pandas as pd

    path = context.file(context.work_dir / "segments" / "segments.parquet")
    if not path.exists():
        return np.zeros(len(users))
    return pd.read_parquet(path)["segment"].reindex(users).fillna("").to_numpy(str)
