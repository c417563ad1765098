"""Server processes that outlive us, and the notes by which we know them again.

A note (``run/NAME.json``) holds the pid together with the process's start time and the boot it
belongs to, so a pid that the system has given to someone else is never taken for ours.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

POLL_S = 0.05


class Note(msgspec.Struct, frozen=True):
    """One started process; its group is the name by which users ask for it."""

    name: str
    group: str
    pid: int
    started_ticks: int
    boot_id: str
    started_ms: int
    ports: dict[str, int]
    log: str

    def alive(self) -> bool:
        """Whether this very process still runs."""
        alive = self.boot_id == boot_id() and started_ticks(self.pid) == self.started_ticks
        if not alive:
            _reap(self.pid)
        return alive


def boot_id() -> str:
    """Identity of the machine's current boot; start times count from it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def started_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name stands in parentheses and may hold anything, so fields count from the last.
    state, *fields = stat.rpartition(")")[2].split()
    threads, ticks = int(fields[16]), int(fields[18])
    # While a Java dies, its first thread may be a zombie and others still hold the ports.
    return None if state in {"Z", "X"} and threads <= 1 else ticks


def _reap(pid: int) -> None:
    """Collect a child that ended; somebody else's child is left alone."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def spawn(
    name: str,
    group: str,
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    out: Path,
    log: Path,
    ports: Mapping[str, int],
) -> Note:
    """Start a process in a session of its own, with its output in `out`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    argv = [str(part) for part in command]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    pid = os.posix_spawn(
        argv[0],
        argv,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(out), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGPIPE, signal.SIGINT],
    )
    ticks = started_ticks(pid)
    return Note(
        name=name,
        group=group,
        pid=pid,
        started_ticks=-1 if ticks is None else ticks,
        boot_id=boot_id(),
        started_ms=time.time_ns() // 1_000_000,
        ports=dict(ports),
        log=str(log),
    )


def stop(note: Note, patience_s: float) -> bool:
    """Ask a process to end, then end it; False when force was needed."""
    for ask, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, 10.0)):
        if not note.alive():
            return True
        with suppress(ProcessLookupError):
            os.kill(note.pid, ask)
        deadline = time.monotonic() + wait_s
        while note.alive() and time.monotonic() < deadline:
            time.sleep(POLL_S)
    return False


def tail(path: Path, lines: int = 25) -> str:
    """The last lines of a log, empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


class Notes:
    """The notes of one data directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> list[Note]:
        """Every note, of running and of dead processes."""
        return [self._read(path) for path in sorted(self.folder.glob("*.json"))]

    def get(self, name: str) -> Note | None:
        """The note of one server."""
        path = self.folder / f"{name}.json"
        return self._read(path) if path.exists() else None

    def write(self, note: Note) -> None:
        """Keep a note, replacing the one before it as a whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{note.name}.json"
        draft = path.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(note))
        draft.replace(path)

    def drop(self, name: str) -> None:
        """Forget a server."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    @staticmethod
    def _read(path: Path) -> Note:
        return msgspec.json.decode(path.read_bytes(), type=Note)
