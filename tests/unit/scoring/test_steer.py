"""What holds of every mix in force, whatever the policy wishes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from scoring.policies.base import draw
from scoring.policies.steer import Limits, steered
from state.mix import HOUR_MS, SPAN_MS, Mix
from state.profile import CorruptState
from tests.goldens.mix import golden_mix, path

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
ARMS = ("email", "push", "sms")
EVEN = dict.fromkeys(ARMS, 1 / 3)
PUSH = {"email": 0.0, "push": 1.0, "sms": 0.0}
SMS = {"email": 0.0, "push": 0.0, "sms": 1.0}
LIMITS = Limits(floor=0.02, per_hour=0.2)

wishes = st.one_of(
    st.sampled_from([EVEN, PUSH, SMS]),
    st.tuples(*[st.floats(0.001, 1.0)] * 3).map(
        lambda parts: {arm: part / sum(parts) for arm, part in zip(ARMS, parts, strict=True)}
    ),
)
steps = st.one_of(
    st.integers(0, 20 * MINUTE_MS),
    st.sampled_from([0, 1, SPAN_MS - 1, SPAN_MS, HOUR_MS - 1, HOUR_MS, 3 * HOUR_MS]),
)


def course(moves: list[tuple[int, dict[str, float]]], limits: Limits = LIMITS) -> list[Mix]:
    """The mixes in force, one after each step of time and wish."""
    mixes: list[Mix] = []
    at_ms = START_MS
    for step_ms, wish in moves:
        at_ms += step_ms
        mixes.append(steered(mixes[-1] if mixes else None, wish, at_ms, limits))
    return mixes


@given(st.lists(st.tuples(steps, wishes), min_size=1, max_size=40))
def test_no_share_is_ever_far_from_what_it_was_within_the_hour(
    moves: list[tuple[int, dict[str, float]]],
) -> None:
    mixes = course(moves)
    for place, mix in enumerate(mixes):
        for before, after in pairwise(mixes[: place + 1]):
            in_force_within_the_hour = after.at_ms > mix.at_ms - HOUR_MS
            if in_force_within_the_hour:
                for was, now in zip(before.shares, mix.shares, strict=True):
                    assert abs(was - now) <= LIMITS.per_hour + 1e-9


@given(st.lists(st.tuples(steps, wishes), min_size=1, max_size=40))
def test_every_arm_keeps_its_floor_and_all_shares_are_the_whole(
    moves: list[tuple[int, dict[str, float]]],
) -> None:
    for mix in course(moves):
        assert sum(mix.shares) == pytest.approx(1.0, abs=1e-9)
        assert min(mix.shares) >= LIMITS.floor - 1e-9


@given(st.lists(st.tuples(steps, wishes), min_size=1, max_size=20), st.integers(0, 19))
def test_a_mix_follows_from_the_one_before_wherever_it_was_kept(
    moves: list[tuple[int, dict[str, float]]], cut: int
) -> None:
    mixes = course(moves)
    at = min(cut, len(mixes) - 1)
    resumed, at_ms = Mix.decode(mixes[at].encode()), START_MS
    for place, (step_ms, wish) in enumerate(moves):
        at_ms += step_ms
        if place > at:
            resumed = steered(resumed, wish, at_ms, LIMITS)
    assert resumed == mixes[-1]


def test_what_a_mix_remembers_is_bounded() -> None:
    mixes = course([(1_000, PUSH if n % 7000 < 3500 else SMS) for n in range(15_000)])
    assert max(len(mix.past) for mix in mixes) <= HOUR_MS // SPAN_MS + 1


def test_a_wish_within_the_limits_is_fulfilled_at_once() -> None:
    wish = {"email": 0.2, "push": 0.5, "sms": 0.3}
    [_, mix] = course([(0, EVEN), (1, wish)])
    assert mix.shares == pytest.approx(tuple(wish.values()), abs=1e-12)


def test_a_new_wish_moves_the_mix_by_the_limit_in_the_first_hour_and_in_each_after() -> None:
    minutes = [(MINUTE_MS, SMS)] * 300
    mixes = course([(0, PUSH), *minutes])
    sms = [mix.shares[2] for mix in mixes]
    assert sms[0] == pytest.approx(0.02)
    assert sms[1] == pytest.approx(0.22)
    assert sms[60] <= 0.22 + 1e-9
    assert sms[70] == pytest.approx(0.42)
    assert sms[-1] == pytest.approx(0.96)


def test_time_that_goes_back_gives_no_more_room() -> None:
    first, moved = course([(0, PUSH), (0, SMS)])
    back = steered(moved, SMS, first.at_ms - 5 * HOUR_MS, LIMITS)
    assert back.at_ms == moved.at_ms
    assert back.shares == pytest.approx(moved.shares)


def test_the_kill_switch_is_in_force_at_once_and_let_go_of_slowly() -> None:
    only_sms = Limits(fixed={"sms": 3.0})
    mix = course([(0, PUSH), (1, PUSH)])[-1]
    killed = steered(mix, PUSH, mix.at_ms + 1, only_sms)
    assert killed.shares == (0.0, 0.0, 1.0)
    released = steered(killed, PUSH, killed.at_ms + 1, LIMITS)
    assert released.shares == pytest.approx((0.02, 0.18, 0.8), abs=0.03)
    assert released.shares[2] == pytest.approx(0.8)
    assert steered(mix, PUSH, 0, Limits(fixed={"sms": 1, "email": 3})).shares == (0.75, 0.0, 0.25)


def test_a_kill_switch_that_leaves_no_arm_is_an_error() -> None:
    with pytest.raises(ValueError, match="kill switch names"):
        steered(None, PUSH, START_MS, Limits(fixed={"pigeon": 1.0}))
    with pytest.raises(ValueError, match="no arm"):
        steered(None, {}, START_MS, LIMITS)


def test_a_campaign_with_other_arms_has_another_mix() -> None:
    mix = course([(0, PUSH)])[-1]
    two = steered(mix, {"email": 0.5, "sms": 0.5}, START_MS, LIMITS)
    assert (two.arms, two.shares, two.past) == (("email", "sms"), (0.5, 0.5), ())


def test_a_floor_above_an_even_split_is_an_even_split() -> None:
    mix = steered(None, PUSH, START_MS, Limits(floor=0.5))
    assert mix.shares == pytest.approx((1 / 3,) * 3)


def test_a_floor_that_is_raised_waits_for_the_speed_limit() -> None:
    mix = course([(0, PUSH)], Limits(floor=0.0, per_hour=0.05))[-1]
    raised = steered(mix, PUSH, START_MS + 1, Limits(floor=0.2, per_hour=0.05))
    assert sum(raised.shares) == pytest.approx(1.0)
    assert raised.shares == pytest.approx((0.025, 0.95, 0.025))


def test_a_draw_follows_the_shares_of_the_arms_that_are_awake() -> None:
    asleep = (0.5, 0.0, 0.2, 0.3)
    drawn = [draw(f"d{number}", asleep) for number in range(20_000)]
    counts = [sum(1 for found in drawn if found == (place, asleep[place])) for place in (0, 2, 3)]
    assert sum(counts) == len(drawn)
    assert chisquare(counts, [10_000, 4_000, 6_000]).pvalue > 1e-4
    assert drawn == [draw(f"d{number}", asleep) for number in range(20_000)]


def test_what_a_sleeping_arm_had_goes_to_the_others_in_proportion() -> None:
    found = {draw(f"d{number}", (0.0, 0.1, 0.3)) for number in range(1_000)}
    assert found == {(1, 0.1 / 0.4), (2, 0.3 / 0.4)}


def test_nothing_is_drawn_where_no_share_is_left() -> None:
    assert draw("d1", (0.0, 0.0)) is None
    assert draw("d1", ()) is None


def test_the_golden_mix_is_read_and_written() -> None:
    assert Mix.decode(path().read_bytes()) == golden_mix()
    assert golden_mix().encode() == path().read_bytes(), "the layout of a mix changed"


@given(st.binary(max_size=60))
def test_bytes_of_no_mix_are_refused(data: bytes) -> None:
    whole = golden_mix().encode()
    fewer = Mix(("email", "sms"), (1.0,), START_MS).encode()
    for broken in (data, whole[:-1], whole + b"\0", b"BKA" + whole[3:], fewer):
        with pytest.raises(CorruptState):
            Mix.decode(broken)
