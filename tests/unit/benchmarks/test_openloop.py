from __future__ import annotations

import numpy as np
import pytest

from benchmarks.openloop import BURST_FACTOR, Schedule, Sent


@pytest.mark.parametrize("shape", ["constant", "poisson", "bursts"])
def test_a_schedule_sends_every_event_in_order_at_its_mean_rate(shape: str) -> None:
    offsets = Schedule(2_000, 40_000, shape).offsets_ns()  # type: ignore[arg-type]
    assert len(offsets) == 40_000
    assert offsets[0] >= 0
    assert (np.diff(offsets) >= 0).all()
    assert offsets[-1] == pytest.approx(20e9, rel=0.03)


def test_a_constant_schedule_has_equal_gaps() -> None:
    assert set(np.diff(Schedule(1_000, 100).offsets_ns())) == {1_000_000}


def test_poisson_gaps_vary_as_exponential_ones_do() -> None:
    gaps = np.diff(Schedule(1_000, 50_000, "poisson").offsets_ns())
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.03)


def test_one_second_in_ten_of_a_bursty_schedule_has_five_times_the_rate() -> None:
    offsets = Schedule(1_400, 28_000, "bursts").offsets_ns()
    by_second = np.bincount(offsets // 1_000_000_000)
    assert by_second.max() == pytest.approx(BURST_FACTOR * np.median(by_second), rel=0.01)
    assert (by_second > 2 * np.median(by_second)).sum() == 2


def _sent(lag_p99_ms: float = 0.2, failed: int = 0) -> Sent:
    return Sent(0, 1_000, failed, 0.1, lag_p99_ms, 3.0)


def test_a_run_counts_when_the_generator_kept_its_schedule() -> None:
    assert _sent().void_reasons() == []


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (_sent(lag_p99_ms=1.01), "lagged 1.01 ms"),
        (_sent(lag_p99_ms=float("nan")), "lagged"),
        (_sent(failed=3), "3 events never reached"),
    ],
)
def test_a_run_is_void_when_the_generator_did_not(sent: Sent, reason: str) -> None:
    [found] = sent.void_reasons()
    assert reason in found
