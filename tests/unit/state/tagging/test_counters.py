"""Counts by action and window."""

from __future__ import annotations

from state.tagging.counters import Counters
from tests.facts import DAY, HOUR, MINUTE, MONDAY, after, fact


def test_a_window_is_a_number_of_whole_buckets_that_ends_now() -> None:
    counters = after(Counters(), [fact("view", 4 * MINUTE)])
    assert counters.count("view", "1h", MONDAY + 59 * MINUTE) == 1
    assert counters.count("view", "1h", MONDAY + 60 * MINUTE) == 0
    assert counters.count("view", "24h", MONDAY + 24 * HOUR - 1) == 1
    assert counters.count("view", "24h", MONDAY + 24 * HOUR) == 0
    assert counters.count("view", "30d", MONDAY + 29 * DAY) == 1
    assert counters.count("view", "30d", MONDAY + 30 * DAY) == 0


def test_a_word_that_is_no_action_of_ours_counts_as_other() -> None:
    counters = after(Counters(), [fact("wishlist_opened"), fact("zoomed")])
    values = counters.dimensions(MONDAY)
    assert values["other_count_1h"] == values["other_count_total"] == 2


def test_late_facts_are_counted_in_their_own_bucket_while_it_is_kept() -> None:
    times = [10 * DAY, 10 * DAY + 1, 3 * DAY, 4 * DAY, 3 * DAY + 1, 0]
    late = after(Counters(), [fact(at=at) for at in times])
    ordered = after(Counters(), [fact(at=at) for at in sorted(times)])
    now = MONDAY + 10 * DAY
    assert late.dimensions(now) == ordered.dimensions(now)
    assert late.count("view", "7d", now) == 3
    late.apply(fact(at=-40 * DAY))
    assert late.count("view", "30d", now) == 6
    assert late.lifetime[0] == 7
