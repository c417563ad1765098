"""The batch beside the stream: one file a step, in the order of this dictionary.

A step is a function of the night's `jobs.nightly.context.Context` that returns a
`jobs.nightly.base.StepReport`. Adding one is one file and one line here. What it reads and writes
goes through the context, which is how the runner knows when there is nothing to do.
"""

from __future__ import annotations

from typing import Final

from jobs.nightly import (
    budget,
    contact,
    ctr,
    customers,
    dates,
    examples,
    forecast,
    funnel,
    gender,
    judge,
    online,
    people,
    publish,
    purchase,
    quality,
    recommend,
    region,
    report,
    rollout,
    segments,
    spending,
    tables,
    tags,
    told,
)
from jobs.nightly.base import Step

STEPS: Final[dict[str, Step]] = {
    "tables": tables.run,
    "quality": quality.run,
    "people": people.run,
    "told": told.run,
    "customers": customers.run,
    "segments": segments.run,
    "funnel": funnel.run,
    "recommend": recommend.run,
    "budget": budget.run,
    "examples": examples.run,
    "ctr": ctr.run,
    "online": online.run,
    "judge": judge.run,
    "gender": gender.run,
    "region": region.run,
    "spending": spending.run,
    "contact": contact.run,
    "dates": dates.run,
    "purchase": purchase.run,
    "forecast": forecast.run,
    # What follows gathers from all the others.
    "tags": tags.run,
    "publish": publish.run,
    "rollout": rollout.run,
    "report": report.run,
}
"""Name → step, in the order in which they run."""
