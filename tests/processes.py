"""Our own services as processes on servers of a test's own, to be killed and watched."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks.servers import free_settings, running
from jobs import kafka
from jobs.demo.services import environment
from jobs.settings import Settings

PATIENCE_S = 90
_LINE = re.compile(r'([a-z_]+)(\{[a-z]+="[^"]*"\})? (\S+)')


def settings_with(*servers: str, **fields: object) -> Callable[..., Any]:
    """A fixture for a module: settings of servers that run, with all topics made."""

    @pytest.fixture(scope="module")
    def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
        found = free_settings(tmp_path_factory.mktemp("-".join(servers)), **fields)
        with running(found, *servers):
            kafka.ensure_topics(found)
            yield found

    return settings


def figures(exposition: str) -> dict[str, float]:
    """What Prometheus would read of it, by name and labels."""
    found = {}
    for line in exposition.splitlines():
        if not line.startswith("#"):
            parts = _LINE.fullmatch(line)
            assert parts is not None, line
            found[f"{parts[1]}{parts[2] or ''}"] = float(parts[3])
    return found


def metrics(port: int) -> dict[str, float]:
    """What a service shows now."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return figures(answer.read().decode())


def command(settings: Settings, *words: str) -> subprocess.Popen[bytes]:
    """``beckon WORDS…`` under these settings, its output to be read."""
    return subprocess.Popen(
        [sys.executable, "-c", "from jobs.cli import main; main()", *words],
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@contextmanager
def service(settings: Settings, *words: str, says: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """A service, from when it ``says`` that it works; killed at the end unless it has ended."""
    with command(settings, *words) as process:
        assert process.stdout is not None
        try:
            while says not in (line := process.stdout.readline()):
                assert line, "it ended by itself"
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.stdout.close()
