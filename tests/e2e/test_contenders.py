"""What the benchmark compares must be comparable: every contender decides as the oracle does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from benchmarks.contenders.base import Contender
from benchmarks.contenders.engine import Engine
from benchmarks.contenders.plain_loop import PlainLoop
from benchmarks.contenders.tutorial import Tutorial
from benchmarks.control import control
from benchmarks.drain import Backlog, drain
from benchmarks.servers import free_settings, running
from benchmarks.workload import Workload
from jobs.settings import Settings
from jobs.stack.local import LocalStack

pytestmark = pytest.mark.stack

HOUR_MS = 3_600_000
EVENTS = 4_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, LocalStack]]:
    settings = free_settings(tmp_path_factory.mktemp("contenders"))
    with running(settings, "kafka", "flink") as found:
        yield settings, found


@pytest.fixture(scope="module")
def backlog() -> Backlog:
    end_ms = time.time_ns() // 1_000_000 - HOUR_MS
    return Backlog.make(Workload(11, EVENTS, 1_000, end_ms - HOUR_MS, HOUR_MS), control())


@pytest.mark.parametrize(
    "build",
    [lambda settings, _: PlainLoop(settings), Tutorial, Engine],
    ids=["plain_loop", "tutorial", "engine"],
)
def test_a_contender_decides_as_the_oracle_does(
    stack: tuple[Settings, LocalStack],
    backlog: Backlog,
    build: Callable[[Settings, LocalStack], Contender],
) -> None:
    run = drain(stack[0], build(*stack), backlog)

    assert run.void is None
    assert run.decisions >= len(backlog.expected.records) > 100
