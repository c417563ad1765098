from __future__ import annotations

import math

from benchmarks.histogram import Latencies, histogram, merged, quantile_ms
from benchmarks.probe import judge
from benchmarks.workload import Workload

MS = 1_000_000
SECOND = 1_000 * MS


def test_merging_histograms_is_counting_all_values_in_one() -> None:
    whole, parts = histogram(), [histogram() for _ in range(3)]
    for value in range(1, 30_000):
        whole.record_value(value)
        parts[value % 3].record_value(value)
    together = merged(parts)
    assert together.get_total_count() == whole.get_total_count()
    for percent in (1, 50, 99, 99.9, 100):
        assert quantile_ms(together, percent) == quantile_ms(whole, percent)


def test_a_percentile_of_a_run_is_not_the_mean_of_its_seconds() -> None:
    latencies = Latencies()
    for second in range(99):
        for _ in range(10):
            latencies.record(second * SECOND, 1 * MS)
    for _ in range(10):
        latencies.record(99 * SECOND, 1_000 * MS)
    assert latencies.percentile_ms(99) < 2
    assert latencies.worst_ms(99, 1) > 990
    assert latencies.worst_ms(50, 10) < 2


def test_nothing_measured_has_no_percentile() -> None:
    assert math.isnan(Latencies().percentile_ms(99))
    assert math.isnan(Latencies().worst_ms(99, 10))


def _decision(name: str) -> bytes:
    return f'{{"decision_id":"{name}","campaign_id":"c"}}'.encode()


def _event(place: int) -> str:
    return f"00000001-0000-4000-8000-{place:012x}"


def test_latency_counts_from_the_intended_send_of_the_trigger() -> None:
    start, offsets = 5_000 * SECOND, [0, 10 * MS, 20 * MS]
    readings = [(start + 17 * MS, _decision("a")), (start + 60 * MS, _decision("b"))]
    answers = judge(readings, {"a": _event(1), "b": _event(2)}, (), offsets, start)
    assert round(answers.latencies.percentile_ms(50)) == 7
    assert round(answers.latencies.percentile_ms(100)) == 40


def test_a_decision_that_does_not_come_is_infinitely_late() -> None:
    answers = judge([], {"a": _event(0)}, (), [0], 0)
    assert answers.latencies.missing == 1
    assert answers.latencies.percentile_ms(99) == math.inf
    assert answers.latencies.figures()["worst_second_p99_ms"] == math.inf


def test_repeats_and_strangers_are_counted_and_allowed_ones_are_not() -> None:
    readings = [(1, _decision(name)) for name in ("a", "a", "wait", "stranger")]
    answers = judge(readings, {"a": _event(0)}, {"wait"}, [0], 0)
    assert (answers.repeated, answers.unexpected) == (1, 1)


def test_warm_up_is_not_counted_even_when_its_decisions_are_missing() -> None:
    expected = {"a": _event(0), "b": _event(1)}
    answers = judge([(3 * SECOND, _decision("b"))], expected, (), [0, 2 * SECOND], 0, SECOND)
    assert answers.latencies.missing == 0
    assert answers.latencies.figures()["answers"] == 1


def test_a_first_copy_counts_and_a_later_one_does_not() -> None:
    readings = [(2 * MS, _decision("a")), (900 * MS, _decision("a"))]
    answers = judge(readings, {"a": _event(0)}, (), [0], 0)
    assert answers.latencies.percentile_ms(100) < 3


def test_worst_ten_seconds_slide_over_all_windows() -> None:
    latencies = Latencies()
    for second in range(30):
        latencies.record(second * SECOND, (500 if 8 <= second < 14 else 1) * MS)
    assert latencies.worst_ms(50, 10) > 490
    assert latencies.percentile_ms(50) < 2


def test_event_ids_name_their_place_in_the_workload() -> None:
    from benchmarks.workload import place_of
    from schemas.wire import decode_event

    messages = Workload(3, 200, 50, 1_760_000_000_000, 60_000).messages()
    places = [place_of(decode_event(value).event_id) for _, value in messages]
    assert places == list(range(200))
