"""The click model: trained, calibrated, measured, and written as an artefact to be judged."""

from __future__ import annotations

from math import exp

import numpy as np

from jobs.nightly import examples, models, told
from jobs.nightly.base import StepReport, Table
from jobs.nightly.context import Context
from jobs.trainers.base import Sample
from scoring.features import FEATURES, MEANING

_RANK = FEATURES.index("member_rank")


def run(context: Context) -> StepReport:
    """Train on the night's examples; what comes of it is judged by the step ``judge``.

    Raises:
        StepStopped: the examples are not there, or cannot be learned from.
    """
    rows = examples.read(context)
    ranks = np.asarray(rows.features[:, _RANK]).astype(int)
    groups = {"campaign": rows.campaign, "channel": rows.channel, "member rank": ranks}
    groups |= models.groups_of(rows.user, told.read(context), context.day.year)
    sample = Sample(FEATURES, np.asarray(rows.features), rows.labels, rows.at_ms, groups)
    found = models.train(context, "ctr", sample)
    moves = tuple(
        (name, round(slope, 4), round(exp(slope), 3), MEANING[name])
        for name, slope in found.card.importance
    )
    columns = ("feature", "coefficient", "odds x, one deviation", "meaning")
    coefficients = Table("Coefficients, of one standard deviation", columns, moves)
    return models.with_more(models.report("Click model", found), tables=(coefficients,))
