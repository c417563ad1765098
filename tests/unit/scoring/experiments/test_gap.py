"""Where a campaign stands against its target, hour by hour."""

from __future__ import annotations

import pytest

from scoring.experiments.gap import Target, gaps
from tests.facts import HOUR, MINUTE, MONDAY


def test_what_was_due_and_reached_adds_up_hour_by_hour() -> None:
    target = Target("orders", 100.0, MONDAY, MONDAY + 4 * HOUR)
    rows = gaps(target, {MONDAY: 30.0, MONDAY + HOUR: 10.0}, MONDAY + 2 * HOUR + 30 * MINUTE)
    assert [(row.hour_ms - MONDAY, row.due, row.reached, row.gap) for row in rows] == [
        (0, 25.0, 30.0, -5.0),
        (HOUR, 50.0, 40.0, 10.0),
        (2 * HOUR, 62.5, 40.0, 22.5),
    ]


def test_all_is_due_at_the_end_and_no_more_after() -> None:
    target = Target("orders", 90.0, MONDAY + 20 * MINUTE, MONDAY + 2 * HOUR + 5 * MINUTE)
    rows = gaps(target, {}, MONDAY + 100 * HOUR)
    assert len(rows) == 3
    assert rows[0].due == pytest.approx(90 * 40 / 105)
    assert rows[-1].due == pytest.approx(90.0)
    assert gaps(target, {}, MONDAY - HOUR) == []


def test_the_rhythm_of_the_week_says_when_it_is_due() -> None:
    rhythm = [0.0] * 168
    rhythm[1], rhythm[2] = 1.0, 3.0
    target = Target("orders", 40.0, MONDAY, MONDAY + 24 * HOUR, rhythm)
    assert [row.due for row in gaps(target, {}, MONDAY + 4 * HOUR)] == [0.0, 10.0, 40.0, 40.0, 40.0]


@pytest.mark.parametrize(
    ("ends_ms", "rhythm"), [(MONDAY, ()), (MONDAY + 1, (1.0,)), (MONDAY + 1, (0.0,) * 168)]
)
def test_a_target_that_cannot_be_is_an_error(ends_ms: int, rhythm: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"ends before|of \d+ hours"):
        gaps(Target("orders", 1.0, MONDAY, ends_ms, rhythm), {}, MONDAY)
