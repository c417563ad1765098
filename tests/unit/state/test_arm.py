"""The laws of an arm's sums: order, reversal, decay; and its bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.arm import VERSION, Arm, Credit
from state.profile import CorruptState
from tests.goldens.arm import FOLDER, golden_arm, path

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
half_lives = st.sampled_from([0, HOUR_MS, 24 * HOUR_MS])
credits_ = st.builds(
    Credit,
    st.integers(START_MS, START_MS + 6 * HOUR_MS),
    st.sampled_from([0.0, 1.0, 0.25]),
    st.sampled_from([(), (1.0, 0.0, 0.5), (0.0, 1.0, -0.5), (-1.0,)]),
)


def arm_of(many: Iterable[Credit], half_life_ms: int, until_ms: int = 0) -> Arm:
    arm = Arm()
    for credit in many:
        arm.apply(credit, half_life_ms)
    arm.age(until_ms, half_life_ms)
    return arm


def assert_same(one: Arm, other: Arm) -> None:
    size = max(len(one.met), len(other.met))
    for ours, theirs in ((one.met, other.met), (one.won, other.won)):
        ours, theirs = ([*each, *[0.0] * (size - len(each))] for each in (ours, theirs))
        assert ours == pytest.approx(theirs, abs=1e-9)


@given(st.lists(credits_, max_size=30), half_lives, st.randoms())
def test_the_order_in_which_credits_come_does_not_matter(
    many: list[Credit], half_life_ms: int, random: object
) -> None:
    shuffled = many.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert_same(arm_of(many, half_life_ms), arm_of(shuffled, half_life_ms))


@given(st.lists(credits_, max_size=20), st.lists(credits_, max_size=20), half_lives)
def test_reversing_undoes_applying(
    kept: list[Credit], taken_back: list[Credit], half_life_ms: int
) -> None:
    end_ms = START_MS + 7 * HOUR_MS
    arm = arm_of([*kept, *taken_back], half_life_ms)
    for credit in taken_back:
        arm.reverse(credit, half_life_ms)
    arm.age(end_ms, half_life_ms)
    assert_same(arm, arm_of(kept, half_life_ms, end_ms))
    assert arm.changes == len(kept) + 2 * len(taken_back)


@given(st.lists(credits_, min_size=1, max_size=30), half_lives)
def test_the_sums_are_those_of_the_definition(many: list[Credit], half_life_ms: int) -> None:
    arm = arm_of(many, half_life_ms)
    newest = max(credit.ts for credit in many)
    size = len(arm.won)
    met, won = np.zeros((size, size)), np.zeros(size)
    for credit in many:
        weight = 0.5 ** ((newest - credit.ts) / half_life_ms) if half_life_ms else 1.0
        x = np.array([1.0, *credit.context, *[0.0] * (size - 1 - len(credit.context))])
        met += weight * np.outer(x, x)
        won += weight * credit.reward * x
    assert arm.met == pytest.approx(met[np.tril_indices(size)].tolist(), abs=1e-9)
    assert arm.won == pytest.approx(won.tolist(), abs=1e-9)
    assert arm.newest_ms == newest


def test_a_credit_weighs_half_after_a_half_life() -> None:
    arm = arm_of([Credit(START_MS, 1.0)], HOUR_MS, START_MS + HOUR_MS)
    assert (arm.exposures, arm.rewards) == (0.5, 0.5)
    arm.apply(Credit(START_MS - HOUR_MS, 0.0), HOUR_MS)
    assert (arm.exposures, arm.rewards) == (0.75, 0.5)


def test_a_refund_leaves_an_exposure_that_was_worth_nothing() -> None:
    click = Credit(START_MS, 1.0)
    arm = arm_of([click, Credit(START_MS + HOUR_MS, 0.0)], 24 * HOUR_MS)
    before = arm.exposures
    arm.reverse(click, 24 * HOUR_MS)
    arm.apply(click._replace(reward=0.0), 24 * HOUR_MS)
    assert arm.exposures == pytest.approx(before)
    assert arm.rewards == pytest.approx(0.0)


def test_a_click_replaces_the_zero_that_stood_for_the_wait() -> None:
    waited = arm_of([Credit(START_MS, 0.0)], HOUR_MS)
    waited.reverse(Credit(START_MS, 0.0), HOUR_MS)
    waited.apply(Credit(START_MS, 1.0), HOUR_MS)
    assert_same(waited, arm_of([Credit(START_MS, 1.0)], HOUR_MS))


def test_what_is_taken_back_without_having_come_never_reads_as_less_than_nothing() -> None:
    arm = Arm()
    arm.reverse(Credit(START_MS, 1.0))
    assert (arm.exposures, arm.rewards) == (0.0, 0.0)


@pytest.mark.parametrize(
    "credit",
    [
        Credit(START_MS, -0.1),
        Credit(START_MS, 1.1),
        Credit(START_MS, float("nan")),
        Credit(START_MS, 1.0, (float("inf"),)),
        Credit(START_MS, 1.0, (1.0,) * 33),
    ],
)
def test_a_credit_that_cannot_be_is_refused_and_changes_nothing(credit: Credit) -> None:
    arm = Arm()
    with pytest.raises(ValueError, match=r"^a (credit|context) of"):
        arm.apply(credit)
    assert arm == Arm()


@given(st.lists(credits_, max_size=20), half_lives)
def test_an_arm_survives_its_bytes(many: list[Credit], half_life_ms: int) -> None:
    arm = arm_of(many, half_life_ms)
    assert Arm.decode(arm.encode()) == arm


@given(st.binary(max_size=60))
def test_bytes_of_others_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptState):
        Arm.decode(data)
    whole = golden_arm().encode()
    for broken in (whole[:-1], whole + b"\0", whole[:8] + data.ljust(len(whole) - 8, b"\xc1")):
        if broken != whole:
            with pytest.raises(CorruptState):
                Arm.decode(broken[: len(whole) + 1])


def test_every_version_of_the_arm_has_its_golden_file_and_is_read() -> None:
    found = {
        int(name.group(1))
        for file in FOLDER.iterdir()
        if (name := re.fullmatch(r"arm\.v(\d+)\.bin", file.name))
    }
    assert found == set(range(1, VERSION + 1))
    for version in found:
        assert_same(Arm.decode(path(version).read_bytes()), golden_arm())


def test_the_present_version_writes_the_golden_bytes() -> None:
    assert golden_arm().encode() == path().read_bytes(), "the layout of an arm changed"
