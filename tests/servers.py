"""Servers of the tests' own: free ports, a directory of their own, gone afterwards."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jobs.settings import Settings
from jobs.stack.local import LocalStack


def free_settings(folder: Path, **fields: object) -> Settings:
    """Settings under which a stack collides with nobody's."""
    names = [
        name
        for name, field in Settings.model_fields.items()
        if name.endswith("_port") and field.default
    ]
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in names]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}
    return Settings(data_dir=folder, **{**ports, **fields})  # type: ignore[arg-type]


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def environment(settings: Settings) -> dict[str, str]:
    """The environment in which our own processes have these settings."""
    given = {
        f"BECKON_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set
    }
    return {**os.environ, **given}


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
