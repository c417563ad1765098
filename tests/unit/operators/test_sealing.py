"""How far back a task looks for what it had published before a crash."""

from __future__ import annotations

from typing import Any

import pytest

from operators import sealing
from operators.sealing import SKEW_MS, Published, Sealing

SUBMITTED_MS = 1_800_000_000_000


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The moments from which the topic was read."""
    since: list[int] = []

    def read(_bootstrap: str, since_ms: int) -> list[Any]:
        since.append(since_ms)
        return [since_ms]

    monkeypatch.setattr(sealing, "published_decisions", read)
    return since


def test_a_shard_is_served_from_before_it_was_saved_however_long_the_stream_stood_still(
    reads: list[int],
) -> None:
    published = Published(Sealing("broker", SUBMITTED_MS))
    saved_ms = SUBMITTED_MS + 3_600_000
    published(saved_ms)
    assert reads[0] <= saved_ms - SKEW_MS


def test_shards_saved_together_share_one_reading_and_an_older_one_reads_again(
    reads: list[int],
) -> None:
    published = Published(Sealing("broker", SUBMITTED_MS))
    saved_ms = SUBMITTED_MS + 3_600_000
    first = published(saved_ms)
    assert published(saved_ms - 5_000) is first
    assert published(saved_ms + 5_000) is first
    published(saved_ms - 100_000)
    assert len(reads) == 2
    assert reads[1] <= saved_ms - 100_000 - SKEW_MS


def test_a_shard_that_was_never_saved_looks_back_to_the_submission(reads: list[int]) -> None:
    Published(Sealing("broker", SUBMITTED_MS))(0)
    assert SUBMITTED_MS - 3 * SKEW_MS < reads[0] < SUBMITTED_MS


def test_where_nobody_knows_when_the_state_was_saved_a_shard_without_any_reads_all(
    reads: list[int],
) -> None:
    Published(Sealing("broker", 0))(0)
    assert reads == [0]
