"""Home region of who did not tell it, by their positions; only of who agreed to marketing."""

from __future__ import annotations

from typing import Final

import numpy as np

from jobs.analytics.places import NAMES, around, usual
from jobs.nightly import models, reading, told
from jobs.nightly.base import StepReport, StepStopped
from jobs.nightly.context import Context
from jobs.trainers.base import Sample
from jobs.trainers.tag import LEAST_CONFIDENCE

TAGS_FILE: Final = "tags.parquet"
LEAST: Final = 40
"""Customers who told a region and were seen somewhere, below which there is no map."""


def run(context: Context) -> StepReport:
    """Read regions off the map of who told theirs, learn how sure that is, write what is.

    Raises:
        StepStopped: the events are not fit, or too few told where they live.
    """
    import pandas as pd

    events = reading.events(context, ("lat", "lon"))
    people = told.read(context)
    if people is None:
        raise StepStopped("nobody knows what customers told; `beckon nightly told` first")
    fixes = events[events["lat"].notna() & events["lon"].notna()]
    users = np.asarray(events["user_id"].cat.categories)
    codes = fixes["user_id"].cat.codes.to_numpy().astype(np.int64)
    home, count, spread = usual(
        codes, len(users), fixes["lat"].to_numpy(float), fixes["lon"].to_numpy(float)
    )
    first_ms = np.full(len(users), np.iinfo(np.int64).max)
    np.minimum.at(first_ms, codes, fixes["ts"].to_numpy())
    seen = np.flatnonzero(count)
    known = people.reindex(users[seen])
    region = known["region"].to_numpy(object)
    told_it = known["region"].notna().to_numpy()
    if told_it.sum() < LEAST:
        raise StepStopped(
            f"{int(told_it.sum())} customers told a region and were seen somewhere; at least "
            f"{LEAST} are needed for a map"
        )
    found = around(home[seen], count[seen], spread[seen], region, told_it)
    mine = np.flatnonzero(told_it)
    mine = mine[np.argsort(first_ms[seen][mine], kind="stable")]
    groups = models.groups_of(users[seen][mine], people, context.day.year)
    trained = models.train(
        context,
        "region",
        Sample(
            NAMES,
            found.inputs[mine],
            (found.region[mine] == region[mine].astype(str)).astype(float),
            first_ms[seen][mine],
            groups,
        ),
    )
    used = models.keep(context, trained)
    may = ~told_it & known["marketing"].fillna(False).to_numpy(bool)
    asked = np.flatnonzero(may) if used else np.zeros(0, int)
    sure = models.scores(trained, found.inputs[asked])
    said = sure >= LEAST_CONFIDENCE
    table = pd.DataFrame(
        {
            "user_id": users[seen][asked][said],
            "predicted_region": found.region[asked][said],
            "region_confidence": sure[said],
        }
    )
    table.sort_values("user_id").to_parquet(context.output(TAGS_FILE), index=False)
    return models.concluded(
        "Home region, from positions",
        trained,
        "region",
        table,
        told=len(mine),
        unknown=~told_it,
        may=may,
        asked=len(asked),
    )
