"""In which order a shard took its inputs is read from what was audited, crash by crash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from jobs.audit.attempts import Attempt, Input, attempts_of


def _input(offset: int, topic: str = "e", came_ms: int = 0) -> Input:
    return Input(came_ms, topic, 0, offset, "ann", "", b"")


def _offsets(attempts: Iterable[Attempt]) -> list[tuple[int, list[list[int]]]]:
    return [
        (attempt.since, [[each.offset for each in group] for group in attempt.groups])
        for attempt in attempts
    ]


def _taken(*batches: Sequence[int]) -> list[tuple[int, list[list[int]]]]:
    known = {offset for batch in batches for offset in batch}
    inputs = [_input(offset) for offset in sorted(known)]
    return _offsets(attempts_of(inputs, [[_input(each) for each in batch] for batch in batches]))


def test_without_a_crash_there_is_one_attempt() -> None:
    assert _taken([1, 2], [3]) == [(0, [[1, 2], [3]])]


def test_a_crash_goes_back_to_the_first_input_that_is_taken_again() -> None:
    assert _taken([1], [2], [3, 4], [3], [4, 5]) == [(0, [[1], [2], [3, 4]]), (2, [[3], [4, 5]])]


def test_the_checkpoint_lies_before_all_that_is_taken_again_however_late_that_is() -> None:
    assert _taken([1], [2], [3], [3], [4], [2]) == [(0, [[1], [2], [3]]), (1, [[3], [4], [2]])]


def test_of_two_crashes_each_goes_back_to_its_own_checkpoint() -> None:
    assert _taken([1], [2], [2], [3], [2], [3]) == [
        (0, [[1], [2]]),
        (1, [[2], [3]]),
        (1, [[2], [3]]),
    ]


def test_what_was_taken_after_a_crash_but_before_it_shows_is_not_lost() -> None:
    assert _taken([1], [2], [9], [2], [3]) == [(0, [[1], [2], [9]]), (1, [[9], [2], [3]])]


def test_a_batch_is_cut_where_its_rows_are_not_in_the_order_of_their_places() -> None:
    """As after a crash, when an outcome is taken before the event that Kafka took in after it."""
    batch = [_input(1), _input(9, "o"), _input(2), _input(3, "o"), _input(7)]
    [attempt] = attempts_of(batch, [batch])
    assert [[(each.topic, each.offset) for each in group] for group in attempt.groups] == [
        [("e", 1), ("o", 9)],
        [("e", 2), ("o", 3)],
        [("e", 7)],
    ]


def test_what_was_not_audited_follows_one_by_one_in_the_order_of_kafkas_time() -> None:
    inputs = [_input(1, came_ms=5), _input(2, came_ms=9), _input(3, came_ms=7)]
    assert _offsets(attempts_of(inputs, [inputs[:1]])) == [(0, [[1]]), (1, [[3], [2]])]
    assert _offsets(attempts_of(inputs, [])) == [(0, [[1], [3], [2]])]


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True), max_size=12))
def test_in_the_end_each_input_stands_once(batches: list[list[int]]) -> None:
    inputs = [_input(offset) for offset in range(10)]
    line: list[list[Input]] = []
    for since, groups in attempts_of(inputs, [[inputs[each] for each in b] for b in batches]):
        assert since <= len(line)
        line[since:] = groups
    assert sorted(each.offset for group in line for each in group) == list(range(10))
