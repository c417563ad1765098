"""The local stack: start, look at, stop and wipe real servers on this machine."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobs.settings import Settings
from jobs.stack import process
from jobs.stack.errors import StackError
from jobs.stack.flink import flink
from jobs.stack.hbase import hbase, thrift
from jobs.stack.jars import JarCache, read_lock
from jobs.stack.java import find_java
from jobs.stack.kafka import kafka
from jobs.stack.redis import redis
from jobs.stack.server import Server, Site, require_free

BUILDERS: dict[str, Callable[[Site], Sequence[Server]]] = {
    "kafka": lambda site: [kafka(site)],
    "redis": lambda site: [redis(site)],
    "hbase": lambda site: [hbase(site)],
    "thrift": lambda site: [thrift(site)],
    "flink": flink,
}
"""What can be asked for by name."""

LOCKS = {"kafka": "kafka", "hbase": "hbase", "thrift": "hbase", "flink": "flink"}
"""The lock file of jars that a name needs; the others need none."""

Report = Callable[[str, str], None]
"""Told what happens: (server or jars, what)."""


@dataclass(frozen=True)
class State:
    """A process as it is now; ``since_ms`` counts from the epoch."""

    name: str
    alive: bool
    pid: int
    since_ms: int
    ports: dict[str, int]
    log: str


class LocalStack:
    """Servers of one data directory. Every method may be called at any time, in any state."""

    def __init__(self, settings: Settings, report: Report = lambda _name, _what: None) -> None:
        self._settings = settings
        self._report = report
        self._root = settings.data_dir.resolve()
        self._notes = process.Notes(self._root / "run")

    def up(self, names: Iterable[str] | None = None) -> list[State]:
        """Start what does not run yet, all at once, and return when everything serves.

        Raises:
            StackError: a server did not come up; its log's end is in the text.
        """
        wanted = list(names or BUILDERS)
        if unknown := [name for name in wanted if name not in BUILDERS]:
            raise StackError(f"no server {', '.join(unknown)}: choose of {', '.join(BUILDERS)}")
        with self._locked():
            site = self._site(wanted)
            servers = [server for name in wanted for server in BUILDERS[name](site)]
            with ThreadPoolExecutor(len(servers)) as pool:
                started = [pool.submit(self._start, site, server) for server in servers]
            troubles = [str(error) for each in started if (error := each.exception())]
        if troubles:
            raise StackError("\n".join(troubles))
        return self.status()

    def status(self) -> list[State]:
        """Every process that was started and not stopped, dead ones too."""
        return [
            State(note.name, note.alive(), note.pid, note.started_ms, note.ports, note.log)
            for note in self._notes.all()
        ]

    def down(self) -> None:
        """Stop every process that this data directory's notes call ours, and only those."""
        with self._locked():
            notes = self._notes.all()
            with ThreadPoolExecutor(max(1, len(notes))) as pool:
                list(pool.map(self._stop, notes))

    def wipe(self) -> None:
        """Stop everything and delete data, logs and configuration."""
        self.down()
        for folder in ("data", "config", "logs", "run"):
            shutil.rmtree(self._root / folder, ignore_errors=True)

    def _start(self, site: Site, server: Server) -> None:
        note = self._notes.get(server.name)
        if note is not None and note.alive():
            if note.ports != dict(server.ports):
                raise StackError(
                    f"{server.name} runs on {note.ports}, the settings say {dict(server.ports)}: "
                    "`beckon stack down` first"
                )
            self._report(server.name, "runs")
        else:
            require_free(self._settings.host, server.ports, server.name)
            self._report(server.name, "starts")
            server.prepare()
            site.log(server.name).unlink(missing_ok=True)
            note = process.spawn(
                server.name,
                server.command,
                server.environment,
                out=site.out(server.name),
                log=site.log(server.name),
                ports=server.ports,
            )
            self._notes.write(note)
        self._wait(site, server, note)

    def _wait(self, site: Site, server: Server, note: process.Note) -> None:
        deadline = time.monotonic() + self._settings.start_timeout_s
        while not server.ready():
            alive = note.alive()
            if not alive or time.monotonic() > deadline:
                what = "does not answer" if alive else "died at its start"
                logs = [site.out(server.name), site.log(server.name)]
                ends = "\n".join(f"--- {log}\n{end}" for log in logs if (end := process.tail(log)))
                raise StackError(f"{server.name} {what}\n{ends or 'It left no log.'}")
            time.sleep(0.1)
        self._report(server.name, "ready")

    def _stop(self, note: process.Note) -> None:
        if note.alive():
            self._report(note.name, "stops")
            clean = process.stop(note, 20.0)
            self._report(note.name, "stopped" if clean else "killed")
        self._notes.drop(note.name)

    def _site(self, names: Sequence[str]) -> Site:
        locks = {LOCKS[name] for name in names if name in LOCKS}
        cache = JarCache(self._settings.cache / "jars", self._settings.maven_repository)
        jars: dict[str, Sequence[Path]] = {}
        for lock in sorted(locks):
            self._report("jars", lock)
            path = self._settings.infra / "stack" / f"{lock}.lock.json"
            jars[lock] = cache.fetch(read_lock(path))
        site = Site(self._settings, find_java(self._settings.java), jars)
        site.logs.mkdir(parents=True, exist_ok=True)
        return site

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One command at a time for a data directory."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / "stack.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
