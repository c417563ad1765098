"""Gender from behaviour, of customers who did not tell it and agreed to marketing."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from jobs.nightly import models, reading, told
from jobs.nightly.base import StepReport, StepStopped
from jobs.nightly.context import Context
from jobs.trainers import gender
from jobs.trainers.base import Matrix, Sample

TAGS_FILE: Final = "tags.parquet"
MOST_WORDS: Final = 48
"""Categories that are looked at, by how often they are met; the others count together."""
CHUNK: Final = 100_000
_PRIOR: Final = 5.0
"""Events that weigh as much as the habit of all: of a short visit nothing is concluded."""


def run(context: Context) -> StepReport:
    """Learn from who told it, and write tags of who did not, where it is sure enough.

    Raises:
        StepStopped: the events are not fit, or too few told theirs.
    """
    import pandas as pd

    events = reading.events(context, ("item_category", "device_type"))
    people = told.read(context)
    if people is None:
        raise StepStopped("nobody knows what customers told; `beckon nightly told` first")
    users, first_ms, names, x = interests(events)
    known = people.reindex(users)
    labels = known["gender"].map({gender.POSITIVE: 1.0, gender.NEGATIVE: 0.0}).to_numpy(float)
    mine = np.flatnonzero(np.isfinite(labels))
    mine = mine[np.argsort(first_ms[mine], kind="stable")]
    if not len(mine):
        raise StepStopped("no customer told a gender; there is nothing to learn from")
    groups = models.groups_of(users[mine], people, context.day.year)
    groups.pop("gender", None)  # it is what is foretold
    found = models.train(
        context,
        "gender",
        Sample(names, x[mine], labels[mine], first_ms[mine], groups),
    )
    used = models.keep(context, found)
    unknown = known["gender"].isna().to_numpy()
    may = unknown & known["marketing"].fillna(False).to_numpy(bool)
    asked = np.flatnonzero(may) if used else np.zeros(0, int)
    words: list[str | None] = []
    sure: list[float] = []
    for at in range(0, len(asked), CHUNK):
        said, confidence = gender.conclude(models.scores(found, x[asked[at : at + CHUNK]]))
        words += said
        sure += confidence.tolist()
    table = pd.DataFrame(
        {"user_id": users[asked], "predicted_gender": words, "gender_confidence": sure}
    ).dropna()
    table.sort_values("user_id").to_parquet(context.output(TAGS_FILE), index=False)
    return models.concluded(
        "Gender, from behaviour",
        found,
        "gender",
        table,
        told=len(mine),
        unknown=unknown,
        may=may,
        asked=len(asked),
    )


def interests(events: Any) -> tuple[Any, Any, tuple[str, ...], Matrix]:
    """Customers, when each was first seen, and shares of what they looked at and held.

    Shares are smoothed towards those of all customers.
    """
    users = events["user_id"].cat.codes.to_numpy()
    count = len(events["user_id"].cat.categories)
    first_ms = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first_ms, users, events["ts"].to_numpy())
    names: list[str] = []
    parts: list[Matrix] = []
    for word, column in (("category", "item_category"), ("device", "device_type")):
        counts, kept = _counts(users, count, events[column])
        whole = counts.sum(axis=0)
        share = (counts + _PRIOR * whole / max(1.0, whole.sum())) / (
            counts.sum(axis=1, keepdims=True) + _PRIOR
        )
        names += [f"{word}: {each}" for each in kept]
        parts.append(share)
    met = np.bincount(users, minlength=count).astype(float)
    return (
        np.asarray(events["user_id"].cat.categories),
        first_ms,
        (*names, "events_log"),
        np.column_stack((*parts, np.log1p(met))),
    )


def _counts(users: Any, count: int, words: Any) -> tuple[Matrix, list[str]]:
    """How often each customer met each of the most frequent words; the others are left out."""
    codes = words.cat.codes.to_numpy()
    told = codes >= 0
    often = np.bincount(codes[told], minlength=len(words.cat.categories))
    order = np.sort(np.argsort(-often, kind="stable")[:MOST_WORDS])
    order = order[often[order] > 0]
    place = np.full(len(often), -1)
    place[order] = np.arange(len(order))
    told &= place[codes] >= 0
    cells = users[told].astype(np.int64) * len(order) + place[codes[told]]
    found = np.bincount(cells, minlength=count * len(order)).reshape(count, len(order))
    return found.astype(float), [str(words.cat.categories[at]) for at in order]
