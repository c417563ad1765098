"""The machine under the measurement: what it is, how busy it is, what a process tree burns."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import numpy as np
import psutil

_VERSIONS: Final = ("beckon", "apache-flink", "confluent-kafka", "msgspec", "numpy")


def facts() -> dict[str, object]:
    """What a reader must know to judge the figures."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "load_before": [round(each, 2) for each in os.getloadavg()],
        "versions": {name: _version(name) for name in _VERSIONS},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def cpu_seconds(roots: Iterable[int]) -> float:
    """CPU time that process trees have used so far, children that have ended included."""
    total = 0.0
    seen: set[int] = set()
    for root in roots:
        try:
            family = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        for process in family:
            if process.pid in seen:
                continue
            seen.add(process.pid)
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
    return total


class CpuMeter:
    """Notes the CPU time of process trees ten times a second, to be asked about any moment."""

    def __init__(self, roots: Callable[[], Iterable[int]], every_s: float = 0.1) -> None:
        self._roots = roots
        self._every_s = every_s
        self._at: list[float] = []
        self._used: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cpu-meter", daemon=True)

    def __enter__(self) -> CpuMeter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def between(self, first_s: float, last_s: float) -> float:
        """CPU seconds used between two moments (since the epoch), interpolated."""
        first, last = np.interp([first_s, last_s], self._at, self._used)
        return float(last - first)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._at.append(time.time())
            self._used.append(cpu_seconds(self._roots()))
