"""The control log as broadcast state would keep it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from operators.control_log import ControlLog, Snapshot

SNAPSHOT = Snapshot((("a", b"1"), ("z", b"2")), until=7)
CHANGES = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.none() | st.binary(max_size=8)), max_size=30
)


@given(CHANGES)
def test_saving_only_what_a_change_touched_saves_the_newest_of_every_key(
    changes: list[tuple[str, bytes | None]],
) -> None:
    log, expected = ControlLog("this", SNAPSHOT), {"a": b"1", "z": b"2"}
    saved = dict(log.entries())
    for offset, (key, value) in enumerate(changes, SNAPSHOT.until + 1):
        saved.update(log.put(key, value, offset))
        if value is None:
            expected.pop(key, None)
        else:
            expected[key] = value

    restored = ControlLog.saved("this", saved.get)

    assert restored is not None
    assert dict(restored) == dict(log) == expected
    assert restored.heard == log.heard == SNAPSHOT.until + len(changes)


def test_what_a_later_value_replaced_before_the_log_began_is_past() -> None:
    log = ControlLog("this", SNAPSHOT)
    assert log.is_past("a", b"0", 3)
    assert log.is_past("gone", b"1", 4)
    assert not log.is_past("a", b"1", 5)
    assert not log.is_past("gone", None, 6)
    assert not log.is_past("a", b"2", 8)


def test_a_log_of_an_earlier_run_is_older_than_the_snapshot_of_this_one() -> None:
    saved = ControlLog("earlier", SNAPSHOT).entries()

    assert ControlLog.saved("this", saved.get) is None


def test_nothing_is_restored_where_nothing_was_saved() -> None:
    assert ControlLog.saved("this", lambda _name: None) is None
