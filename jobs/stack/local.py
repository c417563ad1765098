"""The local stack: start, look at, stop and wipe real servers on this machine."""

from __future__ import annotations

import fcntl
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobs.settings import Settings
from jobs.stack import process
from jobs.stack.errors import StackError
from jobs.stack.flink import flink
from jobs.stack.hbase import hbase, thrift
from jobs.stack.jars import JarCache, read_lock
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
"""Told what happens, from several threads: (process or "jars", what)."""


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
        self.root = settings.data_dir.resolve() / "stack"
        self._notes = process.Notes(self.root / "run")

    def up(self, names: Iterable[str] | None = None) -> list[State]:
        """Start what does not run yet, all at once, and return when everything serves.

        Raises:
            StackError: a server did not come up; the end of its log is in the text.
        """
        wanted = _known(names)
        interrupted = threading.Event()
        with self._locked():
            site = self._site(wanted)
            servers = [(name, server) for name in wanted for server in BUILDERS[name](site)]
            with ThreadPoolExecutor(len(servers)) as pool:
                starts = [pool.submit(self._start, site, *each, interrupted) for each in servers]
                try:
                    wait(starts)
                except BaseException:
                    interrupted.set()
                    raise
        errors = [error for each in starts if (error := each.exception())]
        for error in errors:
            if not isinstance(error, StackError):
                raise error
        if errors:
            raise StackError("\n".join(map(str, errors)))
        return self.status()

    def status(self) -> list[State]:
        """Every process that was started and not stopped, dead ones too."""
        return [
            State(note.name, note.alive(), note.pid, note.started_ms, note.ports, note.log)
            for note in self._notes.all()
        ]

    def down(self, names: Iterable[str] | None = None) -> None:
        """Stop the processes that this data directory's notes call ours, and only those."""
        wanted = _known(names)
        with self._locked():
            self._stop([note for note in self._notes.all() if note.group in wanted])

    def wipe(self) -> None:
        """Stop everything and delete data, logs and configuration; the jars stay cached."""
        with self._locked():
            self._stop(self._notes.all())
            shutil.rmtree(self.root)

    def _start(self, site: Site, group: str, server: Server, interrupted: threading.Event) -> None:
        note = self._notes.get(server.name)
        if note is not None and note.alive():
            if note.ports != dict(server.ports):
                raise StackError(
                    f"{server.name} runs on {note.ports}, the settings say {dict(server.ports)}: "
                    "`beckon stack down` first"
                )
            self._report(server.name, "runs already")
        else:
            require_free(self._settings.host, server.ports, server.name)
            self._report(server.name, "starts")
            server.prepare()
            log = site.log(server.name)
            log.unlink(missing_ok=True)
            note = process.spawn(
                server.name,
                group,
                server.command,
                server.environment,
                out=site.out(server.name),
                log=log,
                ports=server.ports,
            )
            self._notes.write(note)
        self._wait(site, server, note, interrupted)

    def _wait(
        self, site: Site, server: Server, note: process.Note, interrupted: threading.Event
    ) -> None:
        deadline = time.monotonic() + self._settings.start_timeout_s
        while not server.ready():
            alive = note.alive()
            if not alive or time.monotonic() > deadline:
                trouble = "does not answer" if alive else "died at its start"
                self._report(server.name, trouble)
                logs = [site.out(server.name), site.log(server.name)]
                ends = [f"--- {log}\n{end}" for log in logs if (end := process.tail(log))]
                raise StackError("\n".join([f"{server.name} {trouble}", *ends]))
            if interrupted.wait(0.1):
                return
        self._report(server.name, "ready")

    def _stop(self, notes: Sequence[process.Note]) -> None:
        def one(note: process.Note) -> None:
            if note.alive():
                self._report(note.name, "stops")
                clean = process.stop(note, self._settings.stop_timeout_s)
                self._report(note.name, "stopped" if clean else "killed")
            self._notes.drop(note.name)

        with ThreadPoolExecutor(max(1, len(notes))) as pool:
            list(pool.map(one, notes))

    def _site(self, names: Sequence[str]) -> Site:
        site = Site(self._settings, self.root, self._jars({LOCKS[n] for n in names if n in LOCKS}))
        site.logs.mkdir(parents=True, exist_ok=True)
        return site

    def _jars(self, names: set[str]) -> dict[str, Sequence[Path]]:
        cache = JarCache(self._settings.cache / "jars", self._settings.maven_repository)
        folder = self._settings.infra / "stack"
        locks = {name: read_lock(folder / f"{name}.lock.json") for name in sorted(names)}
        total = sum(cache.missing_bytes(lock) for lock in locks.values())
        progress = _Download(total, self._report)
        return {name: cache.fetch(lock, progress.arrived) for name, lock in locks.items()}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One command at a time for a data directory."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class _Download:
    """Turns chunks of bytes into a line for each tenth of the whole."""

    def __init__(self, total: int, report: Report) -> None:
        self._total = total
        self._report = report
        self._arrived = 0
        self._lock = threading.Lock()

    def arrived(self, size: int) -> None:
        """Count a chunk."""
        with self._lock:
            before, self._arrived = self._arrived, self._arrived + size
            now = self._arrived
        if self._total and before * 10 // self._total != now * 10 // self._total:
            self._report("jars", f"{now / 1e6:.0f} of {self._total / 1e6:.0f} MB")


def _known(names: Iterable[str] | None) -> list[str]:
    wanted = list(dict.fromkeys(names or BUILDERS))
    if unknown := [name for name in wanted if name not in BUILDERS]:
        raise StackError(
            f"no server is called {', '.join(unknown)}: there are {', '.join(BUILDERS)}"
        )
    return wanted
