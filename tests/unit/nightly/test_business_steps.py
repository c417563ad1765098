from datetime import date

import msgspec
import pytest
from rich.console import Console

from jobs.market.archive import write_archive
from jobs.models.artefact import load
from jobs.models.registry import Registry
from jobs.nightly import forecast, purchase
from jobs.nightly.context import Context
from jobs.nightly.runner import run_step
from schemas.control import Forecast, ItemSales
from schemas.wire import decode_control

DAY = date(2026, 11, 26)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("business") / "archive"
    write_archive(root, customers=500, examples=500, events=14_000, days=5, last=DAY, seed=5)
    return root


def run(archive, name, step):
    context = Context(
        name, archive_dir=archive, data_dir=archive.parent, day=DAY, console=Console(quiet=True)
    )
    manifest, _ = run_step(step, context)
    return context, manifest


def test_the_next_days_visitors_and_sales_are_written(archive):
    context, manifest = run(archive, "forecast", forecast.run)
    assert manifest.status == "done", manifest.reason
    found = msgspec.json.decode((context.folder / forecast.FILE).read_bytes())
    assert found["day"] == "2026-11-27"
    assert len(found["visitors"]) == 24
    assert all(rate > 0 for rate in found["sales"].values())
    record, *sales = map(
        decode_control, (context.folder / "control.jsonl").read_bytes().splitlines()
    )
    assert isinstance(record, Forecast)
    assert len(record.visitors) == 168
    assert all(isinstance(each, ItemSales) for each in sales)
    assert {each.id: each.per_day for each in sales} == found["sales"]
    assert {load(context.folder / name).made.id for name in ("visitors.json", "sales.json")} == {
        "visitors",
        "sales",
    }


def test_four_classifiers_are_compared_on_what_came_after(archive):
    context, manifest = run(archive, "purchase", purchase.run)
    assert manifest.status == "done", manifest.reason
    report, _ = context.told("purchase")
    assert len(report.tables[0].rows) == 4
    assert set(manifest.writes) == {"artefact.json"}
    artefact = load(context.folder / "artefact.json")
    assert Registry(context.data_dir).artefact(artefact.version) == artefact
