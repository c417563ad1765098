from __future__ import annotations

import os
import time

import pytest

from benchmarks.broker import Progress
from benchmarks.threads import REST, by_part, part_of, thread_seconds

STEPS = Progress(100, 0, [(1_000, 10), (1_500, 40), (2_000, 30), (4_000, 20)])


def test_a_span_without_warm_up_is_all_of_the_run() -> None:
    assert STEPS.span() == (1.0, 4.0, 100)


@pytest.mark.parametrize(
    ("warm_up", "span"), [(10, (1.0, 4.0, 90)), (11, (1.5, 4.0, 50)), (80, (2.0, 4.0, 20))]
)
def test_a_span_begins_with_the_record_that_ends_the_warm_up(
    warm_up: int, span: tuple[float, float, int]
) -> None:
    assert STEPS.span(warm_up) == span


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    with pytest.raises(ValueError, match="only 100 inputs ended, and 101"):
        STEPS.span(101)


def test_threads_are_told_apart_by_the_names_that_the_kernel_cuts() -> None:
    assert part_of("C2 CompilerThre") == part_of("C1 CompilerThre") == "just-in-time compiler"
    assert part_of("decide -> (Data") != part_of("WindowAggregate") != REST
    assert part_of("flink-pekko.act") == REST


def test_what_a_part_used_is_the_difference_of_its_threads_readings() -> None:
    before = {(1, "GC Thread#0"): 2.0, (2, "decide -> (Data"): 5.0}
    after = {(1, "GC Thread#0"): 2.5, (2, "decide -> (Data"): 8.0, (3, "GC Thread#1"): 0.25}
    assert list(by_part(before, after).values()) == [3.0, 0.75]


def test_this_process_is_seen_working() -> None:
    before = thread_seconds([os.getpid()])
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert sum(by_part(before, thread_seconds([os.getpid()])).values()) > 0.05
