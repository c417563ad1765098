"""The benchmark: `make bench`, or `python -m benchmarks.run [--quick]`.

Starts a stack of its own on free loopback ports, measures latency, then drains a backlog with every
contender in shuffled rounds, writes JSON with machine facts, and puts a table into the README.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks import report
from benchmarks.contenders.base import Contender
from benchmarks.contenders.engine import Engine
from benchmarks.contenders.plain_loop import PlainLoop
from benchmarks.contenders.tutorial import Tutorial
from benchmarks.control import control
from benchmarks.drain import Backlog, Drained, drain
from benchmarks.latency import Load, Measured, Plan, Session
from benchmarks.machine import facts
from benchmarks.servers import free_settings
from benchmarks.workload import Workload
from jobs.cli import stop_in_order
from jobs.stack.local import LocalStack

SPAN_MS: Final = 2 * 3_600_000
SETTLED_MS: Final = 600_000
"""Event time ends so long before now: the wall clock then moves no shard, in any contender."""
TUTORIAL_BUNDLE_MS: Final = 5
"""Its default of a second would be all that one sees in its latency."""

MEMORY_MB: Final = 6_144
"""Of a TaskManager."""
_PEER_S: Final = 60


@dataclass(frozen=True)
class Size:
    """How much to measure, and how long at most."""

    minutes: float
    rounds: int
    backlog: int
    warm_up: int
    """So many events of the backlog are not counted, in no contender."""
    backlog_customers: int
    known: int
    loads: Sequence[Load]
    """The first long: for more than a minute the JVM's compiler takes a third of a core. The
    heaviest last: what an overrun contender has not yet done would count to the next."""
    peers: Sequence[Load]
    """What the other contenders are loaded with."""
    peers_known: int


FULL: Final = Size(
    minutes=15,
    rounds=5,
    backlog=240_000,
    warm_up=120_000,
    backlog_customers=50_000,
    known=1_000_000,
    loads=(
        Load(3_000, 120, 90),
        Load(3_000, 14, 2, pause=True),
        Load(3_000, 25, 5, "bursts"),
        Load(10_000, 30, 10),
        Load(20_000, 20, 5),
    ),
    peers=(Load(3_000, 20, 8),),
    peers_known=50_000,
)
QUICK: Final = Size(
    minutes=6,
    rounds=2,
    backlog=120_000,
    warm_up=60_000,
    backlog_customers=30_000,
    known=200_000,
    loads=(Load(3_000, 90, 70), Load(3_000, 10, 2, pause=True), Load(10_000, 15, 5)),
    peers=(),
    peers_known=0,
)
BUSY: Final = 0.5
CAMPAIGNS: Final = 10
"""In force during the latency runs; the backlog is drained with the shipped ones."""


class Bench:
    """One run of everything."""

    def __init__(self, size: Size, folder: Path, console: Console) -> None:
        self._size = size
        self._console = console
        self._began = time.monotonic()
        self._settings = free_settings(folder, task_manager_memory_mb=MEMORY_MB)
        self._stack = LocalStack(self._settings)
        self.drained: list[Drained] = []
        self.measured: list[Measured] = []
        self.troubles: list[str] = []

    def run(self) -> None:
        """Measure; what was measured before a trouble or Ctrl-C is kept."""
        self._say("the stack starts")
        try:
            self._stack.up(["kafka", "flink"])
            self._latency(Engine(self._settings, self._stack), self._size.loads, self._size.known)
            self._rounds()
            for contender in (
                PlainLoop(self._settings),
                Tutorial(self._settings, self._stack, TUTORIAL_BUNDLE_MS),
            ):
                if not self._size.peers:
                    continue
                if self._left_s() < _PEER_S:
                    self._trouble(f"no time for the latency of {contender.name}")
                    continue
                self._latency(contender, self._size.peers, self._size.peers_known)
        finally:
            self._say("the stack stops")
            self._stack.wipe()

    def settings(self, command: str) -> dict[str, Any]:
        """How it was measured, for the results."""
        size, settings = self._size, self._settings
        return {
            "command": command,
            "date": datetime.now(UTC).date().isoformat(),
            "minutes": round((time.monotonic() - self._began) / 60, 1),
            "backlog_events": size.backlog,
            "backlog_warm_up_events": size.warm_up,
            "backlog_customers": size.backlog_customers,
            "known_customers": size.known,
            "latency_campaigns": CAMPAIGNS,
            "partitions": settings.partitions,
            "shards": settings.shards,
            "batch_window_ms": settings.batch_window_ms,
            "checkpoint_interval_ms": settings.checkpoint_interval_ms,
            "state_backend": settings.state_backend,
            "delivery": settings.delivery,
            "troubles": self.troubles,
        }

    def _latency(self, contender: Contender, loads: Sequence[Load], known: int) -> None:
        self._say(f"{contender.name}: {known:,} customers introduce themselves")
        plan = Plan.make(loads, known, control(CAMPAIGNS), _settled_ms(), seed=1_000)
        try:
            with Session(self._settings, contender, plan) as session:
                for leg in plan.legs:
                    run = session.measure(leg)
                    self.measured.append(run)
                    self._say(f"{contender.name}: {_words(run)}")
                    if not report.is_sustained(run):
                        self._say(f"{leg.load.rate:,}/s is not sustained: no heavier load is tried")
                        break
        except (RuntimeError, TimeoutError) as error:
            self._trouble(f"{contender.name}, latency: {error}")

    def _rounds(self) -> None:
        size = self._size
        workload = Workload(
            7, size.backlog, size.backlog_customers, _settled_ms() - SPAN_MS, SPAN_MS
        )
        backlog = Backlog.make(workload, control(), size.warm_up)
        due = len(backlog.expected.records)
        self._say(f"backlog of {size.backlog:,} events, {due:,} decisions must come")
        contenders: list[Contender] = [
            Engine(self._settings, self._stack),
            Tutorial(self._settings, self._stack),
            PlainLoop(self._settings),
        ]
        shuffle = random.Random(7).shuffle
        longest_s = 0.0
        for number in range(1, size.rounds + 1):
            if self._left_s() < longest_s:
                self._say(f"no time for round {number}: the results say how many there were")
                return
            began = time.monotonic()
            shuffle(contenders)
            for contender in contenders:
                try:
                    run = drain(self._settings, contender, backlog)
                except (RuntimeError, TimeoutError) as error:
                    self._trouble(f"{contender.name}, drained: {error}")
                    continue
                self.drained.append(run)
                self._say(
                    f"round {number}: {run.contender} {run.events_per_s:,.0f} events/s, "
                    f"{run.cpu_us_per_event:.1f} µs of CPU an event"
                    + (f" [red]void: {run.void}[/red]" if run.void else "")
                )
            longest_s = max(longest_s, time.monotonic() - began)

    def _left_s(self) -> float:
        return self._size.minutes * 60 - (time.monotonic() - self._began)

    def _say(self, what: str) -> None:
        passed = f"[dim]{time.monotonic() - self._began:5.0f} s[/dim]"
        self._console.print(f"{passed}  {what}", soft_wrap=True)

    def _trouble(self, what: str) -> None:
        self.troubles.append(what)
        self._say(f"[red]{what}[/red]")


def _settled_ms() -> int:
    return time.time_ns() // 1_000_000 - SETTLED_MS


def _words(run: Measured) -> str:
    values = run.answers.latencies.figures()
    shape = "" if run.load.shape == "constant" else f" in {run.load.shape}"
    pause = ", stopped for 500 ms" if run.load.pause else ""
    void = f" [red]void: {'; '.join(run.void)}[/red]" if run.void and not run.load.pause else ""
    return (
        f"{run.load.rate:,}/s{shape}{pause}: p50 {values['p50_ms']:.1f} ms, "
        f"p99 {values['p99_ms']:.1f} ms, worst second {values['worst_second_p99_ms']:.1f} ms, "
        f"{values['answers']:,} decisions{void}"
    )


def main() -> None:
    """Measure, write the results, rewrite the README's table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="six minutes instead of fifteen")
    parser.add_argument("--no-readme", action="store_true", help="leave the README as it is")
    asked = parser.parse_args()
    stop_in_order()
    machine = facts()
    if (load := os.getloadavg()[0]) > BUSY:
        print(f"the machine is busy already (load {load:.1f}): expect void runs")
    folder = Path(tempfile.mkdtemp(prefix="beckon-bench-"))
    bench = Bench(QUICK if asked.quick else FULL, folder, Console())
    try:
        bench.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    command = "python -m benchmarks.run --quick" if asked.quick else "make bench"
    result = report.document(machine, bench.settings(command), bench.drained, bench.measured)
    path = report.write(result, datetime.now(UTC).strftime("%Y-%m-%dT%H%MZ"))
    new = report.table(result)
    print(f"\n{new}\n\n{path}")
    troubles = [*result["void"], *bench.troubles]
    for reason in troubles:
        print(f"void or missing: {reason}")
    readme = report.ROOT / "README.md"
    if troubles:
        print("the README keeps its table: not every run was good")
    elif not asked.no_readme:
        readme.write_text(report.rewrite_readme(readme.read_text(), new))


if __name__ == "__main__":
    main()
