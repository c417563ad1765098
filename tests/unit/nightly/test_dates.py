"""Dates ahead: what is told, what is concluded, and that the stream speaks before them."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from jobs.analytics.dates import OVERDUE_DAYS, WAKE_DAYS, calendar, next_date, payments
from jobs.archive.tables import EVENTS, event_row
from jobs.market.archive import write_archive
from jobs.nightly import STEPS, dates, told
from jobs.nightly.context import Context
from jobs.nightly.runner import run_step
from jobs.nightly.tags import payloads
from schemas.event import BehaviorEvent, Consent, Traits
from schemas.topics import DECISIONS
from schemas.triggers import MembershipTrigger, OverdueTrigger
from tests.builders import DAY, HOUR, on_cart
from tests.harness import Harness, consenting
from tests.kinds import day as quiet_day

NIGHT = date(2026, 11, 20)
ENDS_MS = (NIGHT.toordinal() - 719_162) * DAY


def test_a_date_that_was_told_is_taken_as_it_is_and_the_newest_counts():
    assert next_date([5 * DAY, 9 * DAY], 3 * DAY) == (9 * DAY, False)
    assert next_date([], 0) is None


def test_one_that_has_passed_is_taken_on_by_the_customers_own_interval():
    steady = [30 * DAY, 60 * DAY, 90 * DAY]
    assert next_date(steady, 95 * DAY) == (120 * DAY, True)
    assert next_date(steady[1:], 95 * DAY) is None, "two dates are no habit"
    assert next_date(steady, 125 * DAY) is None, "a whole interval was let pass"
    assert next_date([1 * DAY, 60 * DAY, 90 * DAY], 95 * DAY) is None, "no steady interval"


@given(st.lists(st.integers(0, 400), min_size=1, max_size=8), st.integers(0, 400))
def test_a_next_date_is_always_ahead(days, now):
    found = next_date([each * DAY for each in days], now * DAY)
    assert found is None or found[0] > now * DAY


def test_a_payment_counts_from_thirty_days_before_and_an_open_one_is_censored():
    rows = payments([40 * DAY, 70 * DAY], [38 * DAY], 60 * DAY)
    assert [row[:2] for row in rows] == [(28.0, 1.0), (20.0, 0.0)]
    late = payments([40 * DAY, 100 * DAY], [50 * DAY], 80 * DAY)
    assert late[0][0] == 40.0
    assert late[1][3] > rows[1][3], "who was late before is known for it"
    assert payments([100 * DAY], [], 10 * DAY) == []


def test_a_calendar_says_how_many_are_spoken_to_on_each_day():
    found = calendar(np.array([16.5, 17.2, 3.0, 60.0, -2.0]) * DAY, WAKE_DAYS, 0, 5)
    assert found == [1, 1, 1, 0, 0]


def told_event(user, ts, action="identify", **traits):
    return BehaviorEvent(
        f"{user}-{ts}-{action}", user, action, ts, consent=Consent(marketing=user != "no-consent"),
        traits=Traits(**traits) if traits else None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Members of one night, and a hundred who pay each month, some of them late."""
    root = tmp_path_factory.mktemp("dates")
    rng = np.random.default_rng(4)
    events = [
        told_event("soon", ENDS_MS - 3 * DAY, member_until_ms=ENDS_MS + 20 * DAY),
        told_event("far", ENDS_MS - 3 * DAY, member_until_ms=ENDS_MS + 300 * DAY),
        told_event("over", ENDS_MS - 3 * DAY, member_until_ms=ENDS_MS - DAY),
        *(
            told_event(user, ENDS_MS - back * DAY, member_until_ms=ENDS_MS - (back - 10) * DAY)
            for user in ("renews", "no-consent")
            for back in (75, 45, 15)
        ),
    ]
    for number in range(100):
        user, tardy = f"p{number:03d}", number < 30
        for month in range(5):
            due = ENDS_MS - (125 - 30 * month) * DAY + number * 60_000
            events.append(told_event(user, due - 29 * DAY, payment_due_ms=due))
            paid = due + (rng.normal(3, 1) if tardy else rng.normal(-6, 2)) * DAY
            if paid < ENDS_MS:
                events.append(told_event(user, int(paid), "payment"))
        events.append(told_event(user, ENDS_MS - 20 * DAY, payment_due_ms=ENDS_MS + 25 * DAY))
    days: dict[date, list] = {}
    for each in events:
        days.setdefault(date(1970, 1, 1) + timedelta(days=int(each.ts) // DAY), []).append(each)
    filler = [told_event(f"f{n}", ENDS_MS - DAY + n, "view") for n in range(120)]
    days.setdefault(NIGHT, []).extend(filler)
    for day, found in days.items():
        rows = [event_row(each) | dict.fromkeys(("topic_partition", "topic_offset"), -1)
                | {"ingested_ms": int(each.ts)} for each in found]  # fmt: skip
        folder = root / "archive" / "events" / f"day={day}"
        folder.mkdir(parents=True)
        pa.parquet.write_table(
            pa.Table.from_pylist(rows, EVENTS.schema), folder / "0000000001-0000000001.parquet"
        )
    found = {}
    for name, step in (("told", told.run), ("dates", dates.run)):
        context = Context(name, archive_dir=root / "archive", data_dir=root / "data", day=NIGHT,
                          console=Console(quiet=True))  # fmt: skip
        manifest, _ = run_step(step, context)
        assert manifest.status == "done", manifest.reason
        found[name] = context
    return found["dates"]


def test_what_is_ahead_is_written_and_what_is_past_or_far_is_not(night):
    table = pd.read_parquet(night.folder / dates.TAGS_FILE).set_index("user_id")
    members = table["member_until_ms"].dropna()
    assert members["soon"] == ENDS_MS + 20 * DAY
    assert members["renews"] == ENDS_MS + 25 * DAY, "concluded from three that were a month apart"
    assert not {"far", "over", "no-consent"} & set(members.index)
    assert table["payment_due_ms"].notna().sum() == 100


def test_who_was_late_before_is_likelier_to_be_late_again(night):
    risk = pd.read_parquet(night.folder / dates.FILE)["late_risk"]
    tardy, others = (
        risk[[f"p{n:03d}" for n in range(30)]],
        risk[[f"p{n:03d}" for n in range(30, 100)]],
    )
    assert tardy.mean() > others.mean() + 0.2
    report, _ = night.told("dates")
    [drivers] = report.tables
    ratios = {row[0]: row[1] for row in drivers.rows}
    assert ratios["late_share"] < 1


def first_word(night, user, spec) -> int | None:
    """Days after the night at which the campaign spoke, of what the night tells of the user."""
    tags = pd.read_parquet(night.folder / dates.TAGS_FILE).set_index("user_id")
    [payload] = payloads(tags.loc[[user]], NIGHT.isoformat(), ENDS_MS)
    stream = Harness([quiet_day(), spec])
    stream.send(consenting(user, ts=ENDS_MS - 1_000))
    if stream.send(payload):
        return 0
    for ahead in range(1, 20):
        before = len(stream.outputs[DECISIONS])
        stream.tick(ENDS_MS + ahead * DAY + HOUR)
        if len(stream.outputs[DECISIONS]) > before:
            return ahead
    return None


def test_the_stream_speaks_fifteen_days_before_a_membership_ends(night):
    spec = on_cart(id="wake", trigger=MembershipTrigger(WAKE_DAYS * DAY))
    assert first_word(night, "soon", spec) == 5


def test_the_stream_speaks_at_once_where_a_payment_is_nearer_than_thirty_days(night):
    spec = on_cart(id="due", trigger=OverdueTrigger(OVERDUE_DAYS * DAY, ("payment",)))
    assert first_word(night, "p000", spec) == 0


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """The dates of eleven weeks of the market, whose customers owe, pay and tell by themselves."""
    root = tmp_path_factory.mktemp("owing")
    write_archive(root / "archive", customers=4_000, examples=80, events=12_000, days=75,
                  last=NIGHT, seed=6)  # fmt: skip
    for name in ("told", "dates"):
        context = Context(name, archive_dir=root / "archive", data_dir=root / "data", day=NIGHT,
                          console=Console(quiet=True))  # fmt: skip
        manifest, _ = run_step(STEPS[name], context)
        assert manifest.status == "done", manifest.reason
    return context


def history(context):
    files = sorted((context.archive_dir / "events").glob("day=*/*.parquet"))
    whole = pd.concat(
        pd.read_parquet(path, columns=["user_id", "ts", "action", "traits_payment_due_ms"])
        for path in files
    )
    return whole.sort_values("ts", kind="stable")


def test_the_markets_own_payments_bring_the_next_date(simulated):
    table = pd.read_parquet(simulated.folder / dates.FILE)
    due = table["payment_due_ms"].dropna()
    said = history(simulated).dropna(subset="traits_payment_due_ms")
    newest = said.groupby("user_id")["traits_payment_due_ms"].last()
    assert len(due) > 100
    assert (due == newest.reindex(due.index)).all()
    assert (due > ENDS_MS).all()


def test_who_was_late_in_the_market_is_likelier_to_be_late_again(simulated):
    table = pd.read_parquet(simulated.folder / dates.FILE).dropna(subset="late_risk")
    events = history(simulated)
    owed: dict[str, float] = {}
    late: dict[str, bool] = {}
    for row in events[events["traits_payment_due_ms"].notna()].itertuples():
        if row.action == "payment" and row.user_id in owed:
            late[row.user_id] = row.ts > owed[row.user_id]
        owed[row.user_id] = row.traits_payment_due_ms
    mine = pd.Series(late).reindex(table.index).dropna().astype(bool)
    assert mine.sum() >= 10
    risk = table["late_risk"].reindex(mine.index)
    assert risk[mine].mean() > risk[~mine].mean() + 0.05


def test_where_hardly_anybody_paid_twice_nothing_is_said_of_who_will_be_late(tmp_path):
    write_archive(tmp_path / "archive", customers=3_000, examples=60, events=4_000, days=7,
                  last=NIGHT, seed=6)  # fmt: skip
    for name in ("told", "dates"):
        context = Context(name, archive_dir=tmp_path / "archive", data_dir=tmp_path / "data",
                          day=NIGHT, console=Console(quiet=True))  # fmt: skip
        manifest, _ = run_step(STEPS[name], context)
        assert manifest.status == "done", manifest.reason
    table = pd.read_parquet(context.folder / dates.FILE)
    assert table["payment_due_ms"].notna().sum() > 10
    assert table["late_risk"].isna().all()
    report, _ = context.told("dates")
    assert not report.tables


def test_the_stream_speaks_thirty_days_before_a_payment_of_the_market(simulated):
    table = pd.read_parquet(simulated.folder / dates.FILE)
    ahead = (table["payment_due_ms"] - ENDS_MS) / DAY
    user = ahead[(ahead > 32.1) & (ahead < 39)].index[0]
    spec = on_cart(id="due", trigger=OverdueTrigger(OVERDUE_DAYS * DAY, ("payment",)))
    assert first_word(simulated, user, spec) == int(np.ceil(ahead[user] - OVERDUE_DAYS - 1 / 24))
