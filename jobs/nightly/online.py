"""The model that learned in the stream, as one more candidate for the gate."""

from __future__ import annotations

from typing import Final

import numpy as np

from jobs.models import online
from jobs.models.artefact import Artefact, save
from jobs.nightly import examples, models, told
from jobs.nightly.base import Fact, StepReport, StepStopped
from jobs.nightly.context import Context
from jobs.nightly.stopping import stopping
from jobs.trainers.base import Sample, Setup
from schemas.errors import InvalidRecord
from schemas.model import Challenger
from schemas.wire import decode_control
from scoring.features import FEATURES

DAYS: Final = 30
KEY: Final = "challenger/ctr"
TITLE: Final = "The model that learned in the stream"


def run(context: Context) -> StepReport:
    """Take what ``learn`` had come to from the archived control records; `judge` looks at it.

    Raises:
        StepStopped: a file cannot be read, or what it learned is refused.
    """
    return candidate(context, newest_published(context))


def newest_published(context: Context) -> Challenger | None:
    """The newest record of the learner up to the night's day."""
    import pyarrow.compute as pc
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    newest, value = -1, None
    for path in context.table("control", DAYS):
        try:
            table = read_table(
                path, columns=["key", "topic_offset", "value"], partitioning=None,
                filters=pc.field("key") == KEY,
            )  # fmt: skip
        except (ArrowException, OSError, KeyError, ValueError) as error:
            raise StepStopped(f"{path} cannot be read ({error}); archive that day anew") from error
        for row in table.to_pylist():
            if row["topic_offset"] > newest:
                newest, value = row["topic_offset"], row["value"]
    if value is None:
        return None
    try:
        record = decode_control(value)
    except InvalidRecord as error:
        raise StepStopped(f"the archived control record {KEY} is broken: {error}") from error
    assert isinstance(record, Challenger)
    return record


def candidate(context: Context, record: Challenger | None) -> StepReport:
    """Seal the newest day that can be judged; none is needed for the night to go on.

    Raises:
        StepStopped: the examples are not there, or what was learned is refused.
    """
    if record is None or not record.days:
        return StepReport(
            TITLE,
            facts=(Fact("candidate", "none", "it is published when its second day has begun"),),
        )
    rows = examples.read(context)
    groups = {"campaign": rows.campaign, "channel": rows.channel}
    groups |= models.groups_of(rows.user, told.read(context), context.day.year)
    sample = Sample(FEATURES, np.asarray(rows.features), rows.labels, rows.at_ms, groups)
    found = online.newest_to_judge(record, sample)
    if found is None:
        return StepReport(
            TITLE,
            facts=(Fact("candidate", "none", "too few rows came after any of its days"),),
        )
    day, cut = found
    with stopping():
        trained = online.export(
            record, day, cut, sample, Setup("", day.until_ms, context.seed, context.quick)
        )
        artefact = Artefact.of(trained.model, trained.card)
    save(context.output(models.ARTEFACT), artefact)
    return models.report(TITLE, trained, (Fact("learned from", day.examples, "one by one"),))
