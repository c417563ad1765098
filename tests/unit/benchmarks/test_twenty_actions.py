"""Alerts of all time, against counters in a dictionary."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.twenty_actions import decided, events, expected

FILE = Path(__file__).parents[4] / "shared" / "data" / "taobao_110300.csv.gz"
needs_data = pytest.mark.skipif(not FILE.is_file(), reason=f"no real events at {FILE}")


@needs_data
@pytest.mark.parametrize("at_least", [20, 5])
def test_the_alerts_of_real_events_are_those_of_a_dictionary(at_least: int) -> None:
    stream = events(FILE)
    alerts = decided(stream, at_least)
    assert alerts == expected(stream, at_least)
    assert len(alerts) == len({user for user, _ in alerts}) > 0
