from datetime import date

import pandas as pd
import pytest
from rich.console import Console

from jobs.archive.read import read_day
from jobs.archive.tables import EXAMPLES
from jobs.market.archive import write_archive
from jobs.models.artefact import load
from jobs.nightly import contact
from jobs.nightly.context import Context
from jobs.nightly.rebuild import facts_of
from jobs.nightly.runner import run_step
from jobs.nightly.tags import payloads
from schemas.wire import decode_event
from scoring.features import customer_features
from state.profile import Profile

DAY = date(2026, 11, 26)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("contact") / "archive"
    write_archive(root, customers=1_000, examples=12_000, days=4, last=DAY, seed=5)
    return root


def night(archive):
    context = Context(
        "contact", archive_dir=archive, data_dir=archive.parent, day=DAY,
        console=Console(quiet=True),
    )  # fmt: skip
    return context, run_step(contact.run, context)[0]


def test_every_customer_gets_an_hour_and_a_risk_and_the_model_beats_its_baseline(archive):
    context, manifest = night(archive)
    assert manifest.status == "done", manifest.reason
    found = pd.read_parquet(context.folder / contact.FILE)
    assert found["user_id"].is_unique
    assert found["churn_risk"].between(0, 1).all()
    assert found["best_hour"].between(0, 23).all()
    card = load(context.folder / "artefact.json").card
    assert card.beats_baseline
    report, _ = context.told("contact")
    drivers = next(table for table in report.tables if table.title.startswith("What drives"))
    ratios = {row[0]: row[1] for row in drivers.rows}
    assert ratios["visits_log"] > 1  # who came often comes back sooner


def test_risk_and_hour_are_written_as_tags_that_the_stream_takes(archive):
    context, _ = night(archive)
    tags = pd.read_parquet(context.folder / contact.TAGS_FILE)
    assert set(tags.columns) == {"user_id", "best_hour", "churn_risk"}
    [payload] = payloads(tags.set_index("user_id").head(1), DAY.isoformat(), 1_795_000_000_000)
    traits = decode_event(payload).traits
    assert traits.churn_risk is not None
    assert traits.best_hour is not None


def test_the_night_computes_the_features_that_the_archive_holds(archive):
    rows = read_day(archive, EXAMPLES, DAY).to_pylist()[-40:]
    paths = [sorted((archive / name).glob("day=*/*.parquet")) for name in ("events", "outcomes")]
    facts = facts_of(*paths, {row["user_id"] for row in rows})
    for row in rows:
        at_ms = row["decided_at_ms"]
        known = [fact for fact in facts[row["user_id"]] if fact.ts <= at_ms]
        head = customer_features(Profile(b"", known), at_ms)
        assert row["features"][: len(head)] == pytest.approx(head, abs=1e-9)
