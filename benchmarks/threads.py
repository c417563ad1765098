"""Where the CPU time of a process tree goes, by what its threads do."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import psutil

_PARTS: Final = (
    ("decide", "operator: Python and its output rows"),
    ("learn", "learn"),
    ("grant", "grant"),
    ("C1 Compiler", "just-in-time compiler"),
    ("C2 Compiler", "just-in-time compiler"),
    ("GC Thread", "garbage collector"),
    ("G1 ", "garbage collector"),
    ("Source: Kafka", "source: decode, customer, shard"),
    ("Source Data", "Kafka fetch"),
    ("WindowAggregate", "micro-batches"),
    ("OutputFlusher", "passing on between tasks"),
    ("kafka-producer", "Kafka send"),
    ("python", "Python processes"),
)
"""Beginnings of threads' names, which the kernel cuts at 15 characters, and what they do."""
REST: Final = "the rest"

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")

Used = dict[tuple[int, str], float]
"""(thread id, name) → CPU seconds since it began."""


def thread_seconds(roots: Iterable[int]) -> Used:
    """CPU time of each living thread of process trees."""
    used: Used = {}
    for root in roots:
        try:
            family = [root, *(each.pid for each in psutil.Process(root).children(recursive=True))]
        except psutil.NoSuchProcess:
            continue
        for pid in family:
            for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
                try:
                    head, _, tail = stat.read_text().rpartition(")")
                except OSError:
                    continue  # it has ended meanwhile
                fields = tail.split()
                name = head.partition("(")[2]
                used[int(stat.parent.name), name] = (
                    int(fields[11]) + int(fields[12])
                ) / _TICKS_PER_S
    return used


def part_of(name: str) -> str:
    """What a thread of this name does."""
    return next((part for start, part in _PARTS if name.startswith(start)), REST)


def by_part(before: Used, after: Used) -> Mapping[str, float]:
    """CPU seconds between two readings by part, the largest first."""
    parts: Counter[str] = Counter()
    for thread, used in after.items():
        parts[part_of(thread[1])] += used - before.get(thread, 0.0)
    return dict(parts.most_common())


class ThreadMeter:
    """Reads the threads of process trees twice a second, to be asked about a span afterwards."""

    def __init__(self, roots: Callable[[], Iterable[int]], every_s: float = 0.5) -> None:
        self._roots = roots
        self._every_s = every_s
        self._at: list[float] = []
        self._used: list[Used] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="thread-meter", daemon=True)

    def __enter__(self) -> ThreadMeter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def between(self, first_s: float, last_s: float) -> Mapping[str, float]:
        """CPU seconds by part between the readings next to two moments (since the epoch)."""
        if not self._at:
            return {}
        last = len(self._at) - 1
        first, end = (min(bisect_left(self._at, each), last) for each in (first_s, last_s))
        return by_part(self._used[first], self._used[end])

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._at.append(time.time())
            self._used.append(thread_seconds(self._roots()))
