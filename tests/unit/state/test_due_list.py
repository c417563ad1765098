"""The due list gives every hint back once its time has come, whatever restarts in between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from operators.shard import MemoryStore
from state.due import BUCKET_MS, CHUNK_ENTRIES, DueList

times = st.integers(min_value=1, max_value=40 * BUCKET_MS)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), times),
            st.tuples(st.just("clock"), times),
            st.tuples(st.just("two"), times),
            st.tuples(st.just("restart"), st.just(0)),
        ),
        max_size=60,
    )
)
def test_every_hint_comes_back_when_due_and_none_before(steps: list[tuple[str, int]]) -> None:
    store = MemoryStore()
    due = DueList(store.get)
    waiting: dict[str, int] = {}
    clock = 0
    for number, (verb, ms) in enumerate(steps):
        if verb == "add":
            name = f"customer-{number}"
            waiting[name] = ms
            due.add(name, ms)
        elif verb == "clock":
            clock = max(clock, ms)
            returned = due.pop_due(clock)
            expected = {name for name, at in waiting.items() if at <= clock}
            assert expected <= set(returned)
            waiting = {name: at for name, at in waiting.items() if at > clock}
            assert not set(returned) & set(waiting)
            assert len(returned) == len(set(returned))
        elif verb == "two":
            clock = max(clock, ms)
            returned = due.pop_due(clock, 2)
            mine = [name for name in returned if name in waiting]
            assert len(returned) <= 2
            assert all(waiting[name] <= clock for name in mine)
            for name in mine:
                del waiting[name]
        store.put_all(due.take_writes())
        if verb == "restart":
            due = DueList(store.get)
    # A hint that was given back before a restart may come again; none is missing.
    assert set(waiting) <= set(due.pop_due(41 * BUCKET_MS))


def test_an_hour_that_has_passed_leaves_nothing_in_the_store() -> None:
    store = MemoryStore()
    due = DueList(store.get)
    for number in range(3 * CHUNK_ENTRIES):
        due.add(f"c{number}", 5)
    store.put_all(due.take_writes())
    assert len(store) == 4  # three chunks and their index
    due.pop_due(2 * BUCKET_MS)
    store.put_all(due.take_writes())
    assert len(store) == 1
    assert not DueList(store.get).has_due(10 * BUCKET_MS)


def test_an_added_hint_rewrites_one_chunk_however_long_the_list_is() -> None:
    store = MemoryStore()
    due = DueList(store.get)
    for number in range(50 * CHUNK_ENTRIES):
        due.add(f"c{number}", 5)
    store.put_all(due.take_writes())
    due.add("one more", 6)
    assert len(due.take_writes()) == 2  # the open chunk and the index that names it
