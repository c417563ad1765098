"""The customer's clock, through both changes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.zones import Span, period_start_ms, zone

OSLO, NEW_YORK = ZoneInfo("Europe/Oslo"), ZoneInfo("America/New_York")
LORD_HOWE, HAVANA = ZoneInfo("Australia/Lord_Howe"), ZoneInfo("America/Havana")
MINUTE = 60_000


def utc(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000


@pytest.mark.parametrize("name", ["Not/AZone", "", "../etc/passwd", "America", "/etc/localtime"])
def test_what_is_no_zone_is_none(name: str) -> None:
    assert zone(name) is None


@pytest.mark.parametrize(
    ("span", "at", "ends"),
    [
        (("22:00", "08:00"), "2026-01-10T21:00", "2026-01-11T07:00"),  # an ordinary night
        (("22:00", "08:00"), "2026-01-11T06:59", "2026-01-11T07:00"),
        (("22:00", "08:00"), "2026-03-28T21:00", "2026-03-29T06:00"),  # an hour shorter
        (("22:00", "08:00"), "2026-10-24T20:00", "2026-10-25T07:00"),  # an hour longer
        (("22:00", "02:30"), "2026-03-28T23:00", "2026-03-29T01:00"),  # the end is skipped
        (("22:00", "02:30"), "2026-10-24T23:00", "2026-10-25T00:30"),  # the end is there twice
        (("22:00", "02:30"), "2026-10-25T01:00", "2026-10-25T01:30"),  # ... and this is the second
        (("12:00", "13:00"), "2026-01-10T11:30", "2026-01-10T12:00"),  # within a day
    ],
)
def test_quiet_hours_end_by_the_clock_on_the_wall(
    span: tuple[str, str], at: str, ends: str
) -> None:
    assert Span(*span).holds(utc(at), OSLO)
    assert Span(*span).ends_ms(utc(at), OSLO) == utc(ends)


def test_a_moment_outside_of_the_span_is_its_own_end() -> None:
    noon = utc("2026-01-10T12:00")
    assert Span("22:00", "08:00").ends_ms(noon, OSLO) == noon
    assert Span("22:00", "08:00").starts_ms(noon, OSLO) == utc("2026-01-10T21:00")


def test_a_span_that_ends_where_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="08:00 to 08:00"):
        Span("08:00", "08:00")


_times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
_changes = st.sampled_from(
    [
        (OSLO, "2026-03-29T01:00"),
        (OSLO, "2026-10-25T01:00"),
        (NEW_YORK, "2026-03-08T07:00"),
        (NEW_YORK, "2026-11-01T06:00"),
        (LORD_HOWE, "2026-04-04T15:00"),  # by half an hour
        (HAVANA, "2026-11-01T05:00"),
    ]
)


@given(_times, _times, _changes, st.integers(-30 * 60, 6 * 60))
def test_edges_equal_a_search_minute_by_minute(
    start: str, end: str, change: tuple[ZoneInfo, str], minutes: int
) -> None:
    if start == end:
        return
    where, at_ms = change[0], utc(change[1]) + minutes * MINUTE
    span = Span(start, end)

    def within(moment_ms: int) -> bool:
        clock = f"{datetime.fromtimestamp(moment_ms / 1_000, where):%H:%M}"
        return start <= clock < end if start < end else clock >= start or clock < end

    def first(wanted: bool) -> int:
        return next(
            moment
            for moment in range(at_ms, at_ms + 2 * 1_440 * MINUTE, MINUTE)
            if within(moment) == wanted
        )

    assert span.holds(at_ms, where) == within(at_ms)
    assert span.ends_ms(at_ms, where) == first(False)
    assert span.starts_ms(at_ms, where) == first(True)


@pytest.mark.parametrize(
    ("per", "at", "began"),
    [
        ("day", "2026-03-29T12:00", "2026-03-28T23:00"),
        ("day", "2026-10-25T22:59", "2026-10-24T22:00"),
        ("week", "2026-03-29T12:00", "2026-03-22T23:00"),
        ("week", "2026-03-30T12:00", "2026-03-29T22:00"),
        ("month", "2026-10-31T12:00", "2026-09-30T22:00"),
    ],
)
def test_days_weeks_and_months_begin_at_the_customers_midnight(
    per: str, at: str, began: str
) -> None:
    assert period_start_ms(per, utc(at), OSLO) == utc(began)


def test_a_day_whose_midnight_is_there_twice_begins_at_the_first() -> None:
    assert period_start_ms("day", utc("2026-11-01T05:30"), HAVANA) == utc("2026-11-01T04:00")
