"""Who waits for the tick, saved by chunks."""

from __future__ import annotations

from operators.unpublished import CHUNK_ENTRIES, Unpublished


def test_what_was_noted_over_many_batches_is_there_after_a_restart() -> None:
    store: dict[str, bytes] = {}
    waiting = Unpublished(store.get)
    names = [f"u{number}" for number in range(3 * CHUNK_ENTRIES)]
    for number, name in enumerate(names):
        waiting.note(name, number)
        if number % 7 == 0:
            store.update(waiting.take_writes())
    store.update(waiting.take_writes())

    again = Unpublished(store.get, waiting.chunks)

    assert again.since == {name: number for number, name in enumerate(names)}


def test_the_first_change_that_is_not_published_counts() -> None:
    waiting = Unpublished({}.get)
    waiting.note("u1", 3)
    waiting.note("u1", 5)
    assert waiting.since == {"u1": 3}


def test_who_was_published_alone_waits_no_longer_after_a_restart() -> None:
    store: dict[str, bytes] = {}
    waiting = Unpublished(store.get)
    waiting.note("u1", 3)
    waiting.note("u2", 1)
    store.update(waiting.take_writes())
    assert waiting.pop("u1") == 3
    assert waiting.pop("u1") is None
    store.update(waiting.take_writes())

    assert Unpublished(store.get, waiting.chunks).since == {"u2": 1}


def test_chunks_of_before_everything_was_published_count_for_nothing() -> None:
    store: dict[str, bytes] = {}
    waiting = Unpublished(store.get)
    for number in range(2 * CHUNK_ENTRIES):
        waiting.note(f"old{number}", 0)
    store.update(waiting.take_writes())
    waiting.clear()
    waiting.note("new", 9)
    store.update(waiting.take_writes())

    assert Unpublished(store.get, waiting.chunks).since == {"new": 9}


def test_a_batch_writes_only_the_chunks_that_it_changed() -> None:
    waiting = Unpublished({}.get)
    for number in range(10 * CHUNK_ENTRIES):
        waiting.note(f"u{number}", 0)
    waiting.take_writes()
    waiting.note("one more", 0)
    assert len(waiting.take_writes()) == 1
    assert waiting.take_writes() == {}
