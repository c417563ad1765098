"""The steps on a small archive: what they write, what stops them, and that names last."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from jobs.nightly import STEPS
from jobs.nightly.base import Fact, Manifest, StepReport, Table
from jobs.nightly.context import Context
from jobs.nightly.report import page
from jobs.nightly.runner import run_step
from jobs.nightly.tags import payloads
from schemas.control import ItemList, Pacing, Segmentation
from schemas.errors import InvalidRecord
from schemas.event import TAGS
from schemas.topics import DAY_MS
from schemas.wire import decode_control, decode_event
from scoring.world import World

NIGHT = date(2026, 11, 20)
MINE = ("customers", "segments", "funnel", "recommend", "budget", "tags")


def starts_ms(day: date) -> int:
    return (day.toordinal() - 719_163) * DAY_MS


def write(archive: Path, table: str, day: date, rows: pd.DataFrame) -> None:
    folder = archive / table / f"day={day}"
    folder.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / "0-1.parquet", index=False)


def market(archive: Path, days: int = 40, customers: int = 240, seed: int = 0) -> None:
    """Customers of four kinds who buy at a rate of their own until some of them stop."""
    rng = np.random.default_rng(seed)
    kind = np.arange(customers) % 4
    rate = np.array([0.5, 0.15, 0.4, 0.08])[kind]
    price = np.array([90.0, 15.0, 60.0, 20.0])[kind]
    leaves = np.where(kind == 2, 18, np.where(kind == 3, 30, days + 1))
    for at in range(days):
        day = NIGHT - timedelta(days=days - 1 - at)
        rows: list[tuple[Any, ...]] = []
        for user in range(customers):
            if at >= leaves[user] or rng.random() > 2 * rate[user]:
                continue
            ts = starts_ms(day) + int(rng.integers(0, DAY_MS - 10_000))
            item = f"i{(kind[user] % 2) * 20 + int(20 * rng.random() ** 2)}"
            about = (item, "tea" if kind[user] % 2 else "kites")
            steps = [("view", 1.0), ("cart", 0.7), ("purchase", 0.7)]
            for place, (action, share) in enumerate(steps):
                if rng.random() > share:
                    break
                cost = round(float(price[user] * rng.gamma(8, 1 / 8)), 2)
                name = f"{day}-{user}-{place}"
                rows.append((name, f"u{user:03d}", action, ts + place * 2_000, *about, cost, 1))
        rows.append(rows[0])  # a retry
        table = pd.DataFrame(rows, columns=["event_id", "user_id", "action", "ts", "item_id",
                                            "item_category", "price", "quantity"])  # fmt: skip
        write(archive, "events", day, table)
        spend = rng.uniform(20, 80, 2)
        columns = ["decision_id", "campaign_id", "channel"]
        arms = [(f"d{at}-{n}", "spring", channel) for n, channel in enumerate(("sms", "push"))]
        sent = pd.DataFrame(arms, columns=columns).assign(
            cost_micros=np.round(spend * 1e6).astype(int),
            status="send",
            user_id="u000",
            decided_at_ms=starts_ms(day) + 1_000,
        )
        write(archive, "decisions", day, sent)
        worth = pd.DataFrame(arms, columns=columns).assign(
            kind="converted", value=np.array([100.0, 40.0]) * np.log1p(spend / 20), outcome_id=""
        )
        write(archive, "rewards", day, worth)


class Nights:
    """Runs steps over one archive."""

    def __init__(self, folder: Path) -> None:
        self.archive = folder / "archive"
        self.data = folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)

    def run(self, step: str, day: date = NIGHT) -> tuple[Manifest, StepReport]:
        context = Context(step, archive_dir=self.archive, data_dir=self.data, day=day, quick=True)
        manifest, _ = run_step(STEPS[step], context)
        report = context.told(step)[0]
        assert report is not None
        return manifest, report

    def path(self, step: str, name: str, day: date = NIGHT) -> Path:
        return self.data / "nightly" / day.isoformat() / step / name


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    nights = Nights(tmp_path_factory.mktemp("nights"))
    market(nights.archive)
    for step in MINE:
        manifest, _ = nights.run(step)
        assert manifest.reason == "", step
    return nights


def fact(report: StepReport, name: str) -> Any:
    return next(each.value for each in report.facts if each.name == name)


def test_a_retry_is_counted_and_dropped_each_day(nights):
    _, report = nights.run("customers")
    [exact] = [row for row in report.tables[0].rows if row[0] == "exact duplicates"]
    assert exact[1] - exact[2] == 40


def test_segments_are_written_tagged_and_taken_by_the_stream(nights):
    table = pd.read_parquet(nights.path("segments", "segments.parquet"))
    assert table["segment"].nunique() >= 3
    assert (table["clv"] >= 0).all()
    record = decode_control(nights.path("segments", "control.jsonl").read_bytes())
    assert isinstance(record, Segmentation)
    world = World()
    world.accept("segmentation/main", nights.path("segments", "control.jsonl").read_bytes())
    assert {each.name for each in record.centres} == set(table["segment"])


def test_segments_keep_their_names_the_night_after(nights):
    before = pd.read_parquet(nights.path("segments", "segments.parquet"))["segment"]
    day = NIGHT + timedelta(days=1)
    first = nights.archive / "events" / f"day={NIGHT}" / "0-1.parquet"
    again = pd.read_parquet(first).assign(ts=lambda t: t["ts"] + DAY_MS)
    write(nights.archive, "events", day, again.assign(event_id="n" + again["event_id"]))
    try:
        for step in ("customers", "segments", "recommend", "tags"):
            manifest, report = nights.run(step, day)
            assert manifest.reason == ""
        events = nights.path("tags", "events.jsonl", day).read_bytes().splitlines()
        assert fact(report, "events") == len(events)
        after = pd.read_parquet(nights.path("segments", "segments.parquet", day))["segment"]
        assert (before == after.reindex(before.index)).mean() > 0.8
    finally:
        (nights.archive / "events" / f"day={day}" / "0-1.parquet").unlink()


def test_lists_and_picks_are_made_for_the_stream(nights):
    lines = nights.path("recommend", "control.jsonl").read_bytes().splitlines()
    lists = [decode_control(line) for line in lines]
    assert all(isinstance(each, ItemList) for each in lists)
    assert lists[0].of == ""
    assert all(each.of not in each.items for each in lists[1:])
    picks = pd.read_parquet(nights.path("recommend", "tags.parquet"))
    assert picks["picks"].str.len().max() <= 1_024


def test_tomorrows_money_goes_to_what_brings_more(nights):
    plan = decode_control(nights.path("budget", "control.jsonl").read_bytes())
    assert isinstance(plan, Pacing)
    assert plan.day == "2026-11-21"
    assert plan.spend["spring"]["sms"] > plan.spend["spring"]["push"]
    assert plan.price > 0
    _, report = nights.run("budget")
    assert "84,125 " in f"{report.tables[1].note} "
    assert [row[-1] for row in report.tables[1].rows] == [10_000, 2_250, 15_000]


def test_every_tag_is_an_event_that_the_stream_takes(nights):
    events = [
        decode_event(line) for line in nights.path("tags", "events.jsonl").read_bytes().splitlines()
    ]
    assert len(events) == len({each.event_id for each in events}) > 100
    assert {each.action for each in events} == {TAGS}
    traits = next(each.traits for each in events if each.traits and each.traits.segment)
    assert traits.clv is not None
    assert traits.interests in ("tea", "kites")
    assert traits.picks


def test_a_step_that_is_done_is_not_run_again(nights):
    context = Context(
        "funnel", archive_dir=nights.archive, data_dir=nights.data, day=NIGHT, quick=True
    )
    _, ran = run_step(STEPS["funnel"], context)
    assert not ran


def test_a_value_that_breaks_the_contract_makes_no_event():
    table = pd.DataFrame({"churn_risk": [1.5]}, index=["ann"])
    with pytest.raises(InvalidRecord):
        list(payloads(table, "2026-11-20", 1_700_000_000_000))


def test_a_gap_is_no_tag():
    table = pd.DataFrame({"clv": [np.nan], "best_hour": [20.0]}, index=["ann"])
    [payload] = payloads(table, "2026-11-20", 1_700_000_000_000)
    traits = msgspec.json.decode(payload)["traits"]
    assert traits == {"best_hour": 20}


def test_publishing_without_a_broker_stops_with_the_way_to_do_it_later(nights, monkeypatch):
    monkeypatch.setenv("BECKON_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setattr("jobs.kafka._PATIENCE_S", 0.5)
    manifest, _ = nights.run("publish")
    assert manifest.status == "stopped"
    assert "`beckon nightly publish` when it is back" in manifest.reason


def spoil(table: pd.DataFrame, how: str) -> pd.DataFrame:
    match how:
        case "empty":
            return table[:0]
        case "column missing":
            return table.drop(columns="price")
        case "column of words":
            return table.assign(price="cheap")
        case "negative":
            return table.assign(price=-table["price"])
    return table.assign(ts=table["ts"].astype(float))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("empty", "no events at all"),
        ("column missing", "has no column price"),
        ("column of words", "no amount of money"),
        ("negative", "no amount of money"),
        ("times of another type", "ts holds float64"),
    ],
)
def test_a_bad_partition_stops_the_step_with_the_reason(tmp_path, how, words):
    nights = Nights(tmp_path)
    market(nights.archive, days=3, customers=20)
    file = nights.archive / "events" / f"day={NIGHT}" / "0-1.parquet"
    spoil(pd.read_parquet(file), how).to_parquet(file)
    manifest, _ = nights.run("customers")
    assert manifest.status == "stopped"
    assert words in manifest.reason
    assert not nights.path("customers", "customers.parquet").exists()


def test_half_a_file_stops_the_step_and_names_it(tmp_path):
    nights = Nights(tmp_path)
    market(nights.archive, days=2, customers=20)
    file = nights.archive / "events" / f"day={NIGHT}" / "0-1.parquet"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    for step in ("customers", "recommend"):
        manifest, _ = nights.run(step)
        assert manifest.status == "stopped"
        assert str(file) in manifest.reason


def test_a_night_without_its_day_is_no_night(tmp_path):
    nights = Nights(tmp_path)
    market(nights.archive, days=2, customers=20)
    manifest, _ = nights.run("customers", NIGHT + timedelta(days=3))
    assert "the newest events are of 2026-11-20, not of 2026-11-23" in manifest.reason


def test_the_page_escapes_what_it_is_told_and_asks_nothing_of_the_network():
    report = StepReport(
        "A <b>", (Fact("x", 1.5, "<i>"),), (Table("t", ("c",), (("<script>",),)),), (), ("w<",)
    )
    made = page("2026-11-20", [("step", report, None)])
    assert "<script>" not in made
    assert "&lt;script&gt;" in made
    assert "http" not in made.replace("http://www.w3.org", "")
