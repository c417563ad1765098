"""Sessions, tempo and habits: when and how regularly the customer comes."""

from __future__ import annotations

import pytest

from state.tagging.habits import CEILING, Habits
from state.tagging.sessions import Sessions
from state.tagging.tempo import Tempo
from tests.facts import DAY, HOUR, MINUTE, MONDAY, after, fact


def test_a_session_ends_after_half_an_hour_of_silence() -> None:
    sessions = after(Sessions(), [fact(), fact(at=30 * MINUTE), fact(at=60 * MINUTE + 1)])
    values = sessions.dimensions(MONDAY + 61 * MINUTE)
    assert values["session_count"] == 2
    assert values["session_events"] == 1
    assert values["session_active"] is True
    assert values["session_length_max_s"] == 1_800.0
    assert values["session_events_mean"] == 1.5
    assert values["session_start_ms"] == MONDAY + 60 * MINUTE + 1


def test_a_session_of_one_event_is_a_bounce_once_it_is_over() -> None:
    sessions = after(Sessions(), [fact(), fact(at=1), fact(at=DAY)])
    assert sessions.dimensions(MONDAY + DAY)["session_bounce_ratio"] == 0.0
    over = sessions.dimensions(MONDAY + DAY + 31 * MINUTE)
    assert over["session_bounce_ratio"] == 0.5
    assert over["session_active"] is False


def test_a_late_event_belongs_to_the_newest_session_or_to_none() -> None:
    sessions = after(Sessions(), [fact(at=DAY), fact(at=DAY + 9), fact(at=DAY + 5), fact(at=HOUR)])
    values = sessions.dimensions(MONDAY + DAY)
    assert values["session_count"] == 1
    assert values["session_events"] == 3


def test_a_row_of_active_days_holds_until_a_day_has_gone_by() -> None:
    tempo = after(Tempo(), [fact(at=n * DAY) for n in (0, 3, 4, 5)])
    assert tempo.dimensions(MONDAY + 5 * DAY)["tempo_streak_days"] == 3
    assert tempo.dimensions(MONDAY + 6 * DAY)["tempo_streak_days"] == 3
    assert tempo.dimensions(MONDAY + 7 * DAY)["tempo_streak_days"] == 0
    assert tempo.dimensions(MONDAY + 7 * DAY)["tempo_streak_max_days"] == 3
    assert tempo.dimensions(MONDAY + 7 * DAY)["tempo_active_day_ratio"] == 0.5


def test_gaps_are_those_between_neighbouring_events() -> None:
    tempo = after(Tempo(), [fact(at=at) for at in (0, 10_000, 40_000)])
    values = tempo.dimensions(MONDAY + 100_000)
    assert values["tempo_gap_last_s"] == 30.0
    assert values["tempo_gap_mean_s"] == 20.0
    assert values["tempo_gap_max_s"] == 30.0
    assert values["tempo_idle_s"] == 60.0


def test_a_late_event_counts_and_moves_neither_gap_nor_row() -> None:
    tempo = after(Tempo(), [fact(at=DAY), fact(at=0)])
    values = tempo.dimensions(MONDAY + DAY)
    assert values["tempo_events_total"] == 2
    assert values["tempo_first_seen_ms"] == MONDAY
    assert values["tempo_last_seen_ms"] == MONDAY + DAY
    assert values["tempo_active_days"] == 1


def test_the_favourite_hour_and_weekday_are_those_with_most_events() -> None:
    habits = after(Habits(), [fact(at=2 * DAY + 20 * HOUR + n) for n in range(3)] + [fact()])
    values = habits.dimensions(MONDAY)
    assert values["habit_favourite_hour"] == 20
    assert values["habit_favourite_weekday"] == "wed"
    assert values["habit_hour_20_share"] == 0.75
    assert values["habit_mon_share"] == 0.25
    assert values["habit_evening_share"] == 0.75
    assert values["habit_weekend_share"] == 0.0
    assert habits.hour_share(20) == 0.75
    assert Habits().hour_share(20) is None


def test_a_full_histogram_is_halved_and_keeps_its_shape() -> None:
    habits = Habits(hours=[CEILING - 1, CEILING // 2] + [0] * 22, weekdays=[CEILING - 1] + [0] * 6)
    habits.apply(fact())
    assert habits.hours[:2] == [CEILING // 2, CEILING // 4]
    assert habits.weekdays[0] == CEILING // 2
    assert habits.dimensions(MONDAY)["habit_hour_00_share"] == pytest.approx(2 / 3)
