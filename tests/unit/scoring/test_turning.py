"""When time alone turns a condition: never later than a look at every moment would find."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.event import Traits
from scoring.conditions import View, audience
from scoring.conditions.names import of_profile
from scoring.conditions.turning import ViewAt, turning, turns_ms
from state.fact import Fact
from state.profile import Profile
from tests.facts import DAY, HOUR, MINUTE, MONDAY, fact
from tests.strategies import lives

CONDITIONS = [
    "tempo_idle_s > 30m",
    "tempo_idle_s >= 30m and tempo_idle_s < 2h",
    "view_count_1h >= 2",
    "view_count_24h >= 1 and purchase_count_24h = 0",
    "view_count_7d < 2 or tempo_known_days >= 3d",
    "rfm_recency_days > 1d",
    "rfm_monetary_30d >= 50",
    "rfm_frequency_30d = 1",
    "cart_open_count >= 1",
    "cart_abandoned_count_24h >= 1",
    "cart_abandoned_count_7d >= 2",
    "cart_last_age_s > 20m",
    "session_active",
    "not session_active and tempo_events_total > 2",
    "category_1_weight >= 0.8",
    "tempo_streak_days >= 2",
    "tempo_active_day_ratio > 50%",
    "view_count_24h > cart_count_24h",
    "location_age_s <= 1d",
]
STEP = 5 * MINUTE
LOOKS = [*range(STEP, 2 * HOUR, STEP), *range(2 * HOUR, 40 * DAY, 6 * HOUR)]


def test_a_value_that_is_met_and_left_again_within_a_window_is_not_overlooked() -> None:
    condition = audience("rfm_frequency_30d = 1")
    assert condition is not None
    life = [fact("purchase", 0), fact("purchase", 2 * DAY)]
    profile = Profile(b"", life)
    turn = turns_ms(turning(condition), views(profile), MONDAY + 2 * DAY)
    assert turn is not None
    assert turn == (MONDAY // DAY + 30) * DAY
    assert turns_ms(turning(condition), views(profile), turn) == turn + 2 * DAY


@pytest.mark.parametrize("text", CONDITIONS)
@given(life=lives(max_size=12))
@settings(max_examples=15, deadline=None)
def test_no_turn_is_overlooked(text: str, life: list[Fact]) -> None:
    condition = audience(text)
    assert condition is not None
    profile = Profile(b"", life)
    start_ms = life[-1].ts if life else MONDAY
    now_ms, held = start_ms, condition.holds(View(profile, start_ms))
    turn = turns_ms(turning(condition), views(profile), now_ms)
    for later in LOOKS:
        moment_ms = start_ms + later
        while turn is not None and turn <= moment_ms:
            assert turn > now_ms
            now_ms = turn
            held = condition.holds(View(profile, now_ms))
            turn = turns_ms(turning(condition), views(profile), now_ms)
        assert condition.holds(View(profile, moment_ms)) == held, (later, turn)


@pytest.mark.parametrize(
    ("text", "after_ms"),
    [
        ("tempo_idle_s >= 30m", 30 * MINUTE),
        ("tempo_idle_s > 30m", 30 * MINUTE + 1),
        ("tempo_idle_s < 30m", 30 * MINUTE),
        ("tempo_idle_s <= 30m", 30 * MINUTE + 1),
        ("cart_abandoned_count_24h = 1", 30 * MINUTE),
        ("rfm_monetary_30d >= 5", 30 * DAY),
        ("rfm_recency_days >= 2d", 2 * DAY),
        ("trait_member_days_left < 15d", 5 * DAY + 1),
        ("view_count_total >= 1", None),
        ("trait_city = Oslo", None),
        ("rfm_monetary_total >= 5", None),
    ],
)
def test_a_turn_is_found_to_the_millisecond(text: str, after_ms: int | None) -> None:
    traits = Traits(city="Oslo", member_until_ms=MONDAY + 20 * DAY)
    told = [
        fact("purchase", 0, item="i2", price=10.0, traits=traits),
        fact("cart", 0, item="i1"),
        fact("view", 0),
    ]
    condition = audience(text)
    assert condition is not None
    turn = turns_ms(turning(condition), views(Profile(b"", told)), MONDAY)
    assert turn == (None if after_ms is None else MONDAY + after_ms)


def test_what_turns_after_a_planned_look_is_left_to_that_look() -> None:
    condition = audience("tempo_idle_s > 30m")
    assert condition is not None
    profile = Profile(b"", [fact("view", 0)])
    assert turns_ms(turning(condition), views(profile), MONDAY, MONDAY + MINUTE) == MONDAY + MINUTE
    assert (
        turns_ms(turning(condition), views(profile), MONDAY, MONDAY + DAY)
        == MONDAY + 30 * MINUTE + 1
    )


@given(life=lives(max_size=20), later=st.sampled_from([HOUR, DAY, 9 * DAY, 100 * DAY]))
@settings(max_examples=60, deadline=None)
def test_a_dimension_that_time_moves_is_known_to_move(life: list[Fact], later: int) -> None:
    profile = Profile(b"", life)
    now_ms = life[-1].ts if life else MONDAY
    before, after = View(profile, now_ms), View(profile, now_ms + later)
    for name in of_profile().names.values():
        if name.type == "number" and name.get(before) is not None:
            text = f"{name.name} = {_plain(name.get(before))}"
            if name.get(before) != name.get(after):
                condition = audience(text)
                assert condition is not None
                if condition.holds(before):
                    turn = turns_ms(turning(condition), views(profile), now_ms)
                    assert turn is not None, name.name
                    assert turn <= now_ms + later, name.name


def views(profile: Profile) -> ViewAt:
    return lambda moment_ms: View(profile, moment_ms)


def _plain(value: object) -> str:
    return f"{value:.10f}" if isinstance(value, float) else str(value)
