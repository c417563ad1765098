"""Servers of one's own, for tests and benchmarks: free ports, a directory, gone afterwards."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from jobs.settings import Settings
from jobs.stack.local import LocalStack

_FIRST_PORT: Final = 20_000
_LAST_PORT: Final = 32_000


def free_settings(folder: Path, **fields: object) -> Settings:
    """Settings under which a stack collides with nobody's."""
    names = [
        name
        for name, field in Settings.model_fields.items()
        if name.endswith("_port") and field.default
    ]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    return Settings(data_dir=folder, **{**ports, **fields})  # type: ignore[arg-type]


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on.

    They lie below those that the system gives to connections, which could take one before its
    server does; where the search begins is left to chance, so that two at once do not meet.
    """
    first = random.SystemRandom().randrange(_FIRST_PORT, _LAST_PORT)
    with ExitStack() as held:
        found: list[int] = []
        for port in (*range(first, _LAST_PORT), *range(_FIRST_PORT, first)):
            try:
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                break
        return found


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


@contextmanager
def running(settings: Settings, *names: str) -> Iterator[LocalStack]:
    """A stack of the servers named, wiped at the end."""
    stack = LocalStack(settings)
    try:
        stack.up(names)
        yield stack
    finally:
        stack.wipe()


def kill(stack: LocalStack, name: str) -> None:
    """``kill -9`` a server, and wait until it is gone: one that still dies counts as running."""
    [pid] = [state.pid for state in stack.status() if state.name == name and state.alive]
    os.kill(pid, signal.SIGKILL)
    while any(state.alive for state in stack.status() if state.name == name):
        time.sleep(0.01)
