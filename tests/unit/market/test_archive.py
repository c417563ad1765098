from collections import defaultdict
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.archive.read import labelled, read_day
from jobs.archive.tables import DECISIONS, EVENTS, EXAMPLES, OUTCOMES, REWARDS
from jobs.market.archive import write_archive
from jobs.market.observed import click_probability
from schemas.errors import UserMistake
from scoring.features import FEATURES

LAST = date(2026, 11, 26)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    counts = write_archive(root, customers=60, examples=1_500, days=3, last=LAST, seed=5)
    return root, counts


def truth_of(root):
    days = sorted((root / "truth").glob("day=*/*.parquet"))
    return pa.concat_tables(pq.read_table(path, partitioning=None) for path in days)


def test_it_holds_as_many_labelled_examples_as_asked_for_and_each_window_is_closed(archive):
    root, counts = archive
    found = [len(rows) for _, rows in labelled(root)]
    assert counts["examples"] == 1_500
    # What is newer than the newest expiry of its campaign is not answered in full yet.
    assert 1_450 < sum(found) <= 1_500
    assert len(found) == 3


def test_the_truth_is_kept_apart_and_is_the_probability_of_the_features(archive):
    root, _ = archive
    assert not any("click_probability" in pq.read_schema(p).names
                   for p in root.glob("e*/day=*/*.parquet"))  # fmt: skip
    truth = truth_of(root)
    likely = dict(zip(*(truth[n].to_pylist() for n in truth.column_names[:2]), strict=True))
    rows = read_day(root, EXAMPLES, LAST)
    for name, vector in zip(
        rows["decision_id"].to_pylist(), rows["features"].to_pylist(), strict=True
    ):
        assert likely[name] == click_probability(vector)
    clicked = [c for _, day in labelled(root) for c in day["clicked"].to_pylist()]
    mean = float(np.mean(list(likely.values())))
    spread = (mean / len(clicked)) ** 0.5
    assert abs(np.mean(clicked) - mean) < 4 * spread


def test_features_are_those_of_the_state_that_the_archived_events_lead_to(archive):
    root, _ = archive
    days = [date(2026, 11, 24), date(2026, 11, 25), LAST]
    story = defaultdict(list)
    for day in days:
        for row in read_day(root, EVENTS, day).to_pylist():
            story[row["user_id"]].append((row["ts"], 0, row))
        for row in read_day(root, OUTCOMES, day).to_pylist():
            story[row["user_id"]].append((row["ts"], 1, row))
    examples = read_day(root, EXAMPLES, days[0]).to_pylist()
    by_user = defaultdict(list)
    for example in examples:
        by_user[example["user_id"]].append(example)
    user = max(by_user, key=lambda name: len(by_user[name]))
    place = FEATURES.index("events_log")
    last = by_user[user][-1]
    before = [row for ts, kind, row in story[user] if ts <= last["decided_at_ms"]]
    assert np.expm1(last["features"][place]) == pytest.approx(
        len([row for row in before if "event_id" in row])
    )


def test_each_example_has_a_decision_that_cost_what_its_channel_costs(archive):
    root, _ = archive
    decisions = read_day(root, DECISIONS, LAST).to_pylist()
    examples = read_day(root, EXAMPLES, LAST).to_pylist()
    assert [d["decision_id"] for d in decisions] == [e["decision_id"] for e in examples]
    costs = {(d["channel"], d["cost_micros"]) for d in decisions}
    assert costs == {("sms", 50_000), ("push", 2_000), ("email", 4_000)}
    assert {d["status"] for d in decisions} == {"send"}
    earned = [r for r in read_day(root, REWARDS, LAST).to_pylist() if r["kind"] == "converted"]
    assert earned
    assert all(r["value"] > 0 for r in earned)


def test_some_keep_their_gender_to_themselves_and_members_say_until_when(archive):
    root, _ = archive
    told = [r for r in read_day(root, EVENTS, date(2026, 11, 24)).to_pylist()
            if r["action"] == "identify"]  # fmt: skip
    kept = {r["user_id"] for r in told if r["traits_gender"] is None}
    assert 0.2 < len(kept) / len({r["user_id"] for r in told}) < 0.6
    people = pq.read_table(root / "truth" / "people.parquet").to_pylist()
    known = {r["user_id"]: r["gender"] for r in people}
    assert len(known) == 60
    assert all(r["traits_gender"] in (None, known[r["user_id"]]) for r in told)
    members = [r for r in told if r["traits_member_level"] != "basic"]
    assert members
    assert all(r["traits_member_until_ms"] is not None for r in members)
    assert any(r["traits_member_until_ms"] is None for r in told)


def test_the_same_seed_gives_the_same_archive(archive, tmp_path):
    root, counts = archive
    again = write_archive(tmp_path, customers=60, examples=1_500, days=3, last=LAST, seed=5)
    assert again == counts
    assert read_day(tmp_path, EXAMPLES, LAST).equals(read_day(root, EXAMPLES, LAST))


def test_an_archive_is_not_written_over(archive):
    root, _ = archive
    with pytest.raises(UserMistake, match="holds an archive already"):
        write_archive(root, customers=1, examples=1, days=1, last=LAST, seed=5)


def test_by_tastes_the_truth_is_the_markets(tmp_path):
    write_archive(tmp_path, customers=40, examples=300, days=1, last=LAST, seed=5, truth="tastes")
    truth = truth_of(tmp_path)["click_probability"].to_numpy()
    assert 0 < truth.mean() < 0.3
    rows = read_day(tmp_path, EXAMPLES, LAST)
    assert any(
        abs(click_probability(vector) - likely) > 1e-6
        for vector, likely in zip(rows["features"].to_pylist(), truth.tolist(), strict=True)
    )
