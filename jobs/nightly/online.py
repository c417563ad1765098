"""The model that learned in the stream, as one more candidate for the gate."""

from __future__ import annotations

from typing import Final

import numpy as np
from confluent_kafka import KafkaException

from jobs.kafka import control_snapshot
from jobs.models import online
from jobs.models.artefact import Artefact, save
from jobs.nightly import examples, models, told
from jobs.nightly.base import Fact, StepReport, StepStopped
from jobs.nightly.context import Context
from jobs.nightly.stopping import stopping
from jobs.trainers.base import Sample, Setup
from schemas.control import Challenger
from schemas.errors import UserMistake
from scoring.features import FEATURES

TITLE: Final = "The model that learned in the stream"


def run(context: Context) -> StepReport:
    """Take from the control topic what ``learn`` had come to; the step ``judge`` looks at it.

    Raises:
        StepStopped: no broker answers, or what it learned is refused.
    """
    try:
        record = online.published(control_snapshot(context.settings))
    except (UserMistake, KafkaException) as error:
        raise StepStopped(
            f"what the stream has learned cannot be read ({error}); `beckon nightly online` when "
            "the broker is back"
        ) from error
    return candidate(context, record)


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
