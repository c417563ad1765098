"""What becomes of customers' tags from one night to the next."""

from datetime import date, timedelta

import msgspec
import pandas as pd
import pytest
from rich.console import Console

from jobs.nightly import STEPS
from jobs.nightly.context import Context
from jobs.nightly.runner import run_step
from schemas.event import BehaviorEvent, Traits

FIRST = date(2026, 11, 20)


@pytest.fixture
def night(tmp_path):
    """Let steps say something of customers in a night; the events of it by customer."""

    def run(number, **steps):
        day = FIRST + timedelta(days=number)
        for step, rows in steps.items():
            folder = tmp_path / "nightly" / day.isoformat() / step
            folder.mkdir(parents=True, exist_ok=True)
            table = pd.DataFrame(rows).rename_axis("user_id").reset_index()
            table.to_parquet(folder / "tags.parquet", index=False)
        context = Context(
            "tags", archive_dir=tmp_path / "archive", data_dir=tmp_path, day=day,
            console=Console(quiet=True),
        )  # fmt: skip
        manifest, _ = run_step(STEPS["tags"], context)
        assert manifest.status == "done", manifest.reason
        lines = (context.folder / "events.jsonl").read_bytes().splitlines()
        events = [msgspec.json.decode(line, type=BehaviorEvent) for line in lines]
        return {event.user_id: event.traits for event in events}

    return run


def segments(**users):
    return {"segment": users}


def test_only_what_is_new_is_said_and_what_is_gone_is_taken_back(night):
    night(0, segments=segments(ann="champions", ben="sleepers", cid="new"))
    said = night(1, segments=segments(ann="champions", ben="regulars"))
    assert said == {"ben": Traits(segment="regulars"), "cid": Traits(gone="segment")}
    assert night(2, segments=segments(ann="champions", ben="regulars")) == {}


def test_a_step_that_was_stopped_takes_nothing_back_that_night_nor_forgets_it(night):
    both = {"segments": segments(ann="champions"), "customers": {"clv": {"ann": 5.0, "ben": 7.0}}}
    night(0, **both)
    assert night(1, segments=segments(ann="champions")) == {}
    said = night(2, segments=segments(ann="champions"), customers={"clv": {"ann": 5.0}})
    assert said == {"ben": Traits(gone="clv")}


def test_one_tag_of_several_is_taken_back_and_the_rest_goes_on(night):
    night(0, customers={"clv": {"ann": 5.0}, "churn_risk": {"ann": 0.5}})
    said = night(1, customers={"clv": {"ann": 6.0}, "churn_risk": {"ann": None}})
    assert said == {"ann": Traits(clv=6.0, gone="churn_risk")}
