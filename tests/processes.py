"""Our own services as processes on servers of a test's own, to be killed and watched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jobs import kafka
from jobs.settings import Settings
from tests.servers import environment, free_settings, running

PATIENCE_S = 90


def settings_with(*servers: str) -> Callable[..., Any]:
    """A fixture for a module: settings of servers that run, with all topics made."""

    @pytest.fixture(scope="module")
    def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
        found = free_settings(tmp_path_factory.mktemp("-".join(servers)))
        with running(found, *servers):
            kafka.ensure_topics(found)
            yield found

    return settings


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
