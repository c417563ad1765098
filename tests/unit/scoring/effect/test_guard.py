from __future__ import annotations

import numpy as np

from scoring.effect.guard import exceeds


def test_a_rate_far_above_its_limit_is_told_soon() -> None:
    assert exceeds(20, 200, 0.01)
    assert not exceeds(0, 10_000, 0.01)
    assert not exceeds(1, 1, 0.01)
    assert not exceeds(100, 10_000, 0.01)


def test_a_rate_at_its_limit_is_rarely_stopped_though_asked_at_every_message() -> None:
    level, limit, runs, length = 0.05, 0.05, 400, 600
    draws = np.random.default_rng(11).random((runs, length)) < limit
    counts = draws.cumsum(axis=1)
    stopped = 0
    for run in counts:
        # The evidence rises at a count only, so it is enough to look there.
        looks = np.flatnonzero(np.diff(run, prepend=0))
        stopped += any(exceeds(int(run[n]), int(n) + 1, limit, level) for n in looks)
    assert stopped / runs <= level + 2 * (level * (1 - level) / runs) ** 0.5


def test_a_rate_of_twice_the_limit_is_found() -> None:
    draws = np.random.default_rng(12).random((50, 12_000)) < 0.02
    found = sum(exceeds(int(run.sum()), len(run), 0.01) for run in draws)
    assert found == 50
