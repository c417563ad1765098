"""What is remembered of a campaign's channels, as bytes."""

from __future__ import annotations

import pytest

from state.learned import VERSION, Learned
from state.profile import CorruptState
from tests.goldens.learned import golden_learned, path


def test_what_was_learned_survives_its_bytes() -> None:
    memory = golden_learned()
    assert Learned.decode(memory.encode()).encode() == memory.encode()
    assert Learned.decode(memory.encode()).mixes == memory.mixes


def test_every_version_is_read_and_the_present_one_writes_its_golden() -> None:
    assert golden_learned().encode() == path().read_bytes(), "the layout changed"
    for version in range(1, VERSION + 1):
        assert Learned.decode(path(version).read_bytes()).encode() == golden_learned().encode()


def test_bytes_that_are_not_whole_are_refused() -> None:
    whole = golden_learned().encode()
    for broken in (b"", whole[:-1], whole + b"x", b"BKX" + whole[3:]):
        with pytest.raises(CorruptState):
            Learned.decode(broken)
