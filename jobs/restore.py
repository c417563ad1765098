"""Where the stream can resume from: the savepoints and checkpoints of its own runs."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from jobs.settings import Settings

_KEPT: Final = 50


class Point(NamedTuple):
    """A state to resume from.

    None is clean: a savepoint holds windows half full, and until the job has stopped these are
    decided and published all the same.
    """

    path: str

    @property
    def saved_ms(self) -> int:
        """When it was complete, UTC ms; 0 where that cannot be seen from this machine."""
        at = urlsplit(self.path)
        metadata = Path(unquote(at.path)) / "_metadata"
        if at.scheme not in ("", "file") or not metadata.is_file():
            return 0
        return metadata.stat().st_mtime_ns // 1_000_000


class Run(msgspec.Struct):
    """A job that was submitted, what it resumed from, and its savepoint once it was stopped."""

    job: str
    origin: str | None = None
    savepoint: str | None = None


def note_start(
    settings: Settings, job: str, *, origin: str | None = None, fresh: bool = False
) -> None:
    """Remember a job that was submitted."""
    runs = [] if fresh else _runs(settings)
    _save(settings, [*runs, Run(job, origin)][-_KEPT:])


def note_savepoint(settings: Settings, job: str, path: str) -> None:
    """Remember that a job was stopped with a savepoint."""
    runs = [run for run in _runs(settings) if run.job != job]
    _save(settings, [*runs, Run(job, savepoint=path)])


def latest(settings: Settings) -> Point | None:
    """The newest state: of the last job, or where it saved none, of what that came from.

    A job's savepoint comes before its checkpoints.
    """
    for run in reversed(_runs(settings)):
        if run.savepoint is not None:
            return Point(run.savepoint)
        complete = [
            path
            for path in checkpoints(settings).glob(f"{run.job}/chk-*/_metadata")
            if path.stat().st_size
        ]
        if complete:
            newest = max(complete, key=lambda path: int(path.parent.name.removeprefix("chk-")))
            return Point(newest.parent.as_uri())
        if run.origin is not None:
            return Point(run.origin)
    return None


def checkpoints(settings: Settings) -> Path:
    """Where the local cluster keeps checkpoints, a folder for each job."""
    return settings.data_dir.resolve() / "stack" / "data" / "flink" / "checkpoints"


def missing(path: str) -> bool:
    """Whether a state on this machine's file system is not there; of others we cannot know."""
    at = urlsplit(path)
    return at.scheme in ("", "file") and not (Path(unquote(at.path)) / "_metadata").is_file()


def _runs(settings: Settings) -> list[Run]:
    """What is noted; nothing after `beckon stack wipe`."""
    try:
        return msgspec.json.decode(_file(settings).read_bytes(), type=list[Run])
    except FileNotFoundError:
        return []


def _save(settings: Settings, runs: list[Run]) -> None:
    file = _file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(runs))
    partial.replace(file)


def _file(settings: Settings) -> Path:
    return checkpoints(settings).with_name("runs.json")
