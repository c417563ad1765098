"""Where the stream can resume from: the savepoints and checkpoints of its own runs."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from jobs.settings import Settings

_KEPT: Final = 50


class Point(NamedTuple):
    """A state to resume from; ``clean`` when nothing was published after it was saved."""

    path: str
    clean: bool


class Runs(msgspec.Struct):
    """The jobs of this data directory since the last fresh start, and the last one's savepoint."""

    jobs: list[str] = []
    savepoint: str | None = None


def load_runs(settings: Settings) -> Runs:
    """What is noted; nothing after `beckon stack wipe`."""
    try:
        return msgspec.json.decode(_file(settings).read_bytes(), type=Runs)
    except FileNotFoundError:
        return Runs()


def note_start(settings: Settings, job: str, *, fresh: bool) -> None:
    """Remember a job that was submitted."""
    runs = Runs() if fresh else load_runs(settings)
    _save(settings, Runs([*runs.jobs, job][-_KEPT:]))


def note_savepoint(settings: Settings, path: str) -> None:
    """Remember that the last job was stopped with a savepoint."""
    _save(settings, Runs(load_runs(settings).jobs, path))


def latest(settings: Settings) -> Point | None:
    """The newest state: the savepoint of a clean stop, else the newest checkpoint retained."""
    runs = load_runs(settings)
    if runs.savepoint is not None:
        return Point(runs.savepoint, clean=True)
    folder = settings.data_dir.resolve() / "stack" / "data" / "flink" / "checkpoints"
    # A job that never completed a checkpoint leaves those of the job it resumed in force.
    for job in reversed(runs.jobs):
        found = [path for path in folder.glob(f"{job}/chk-*/_metadata") if path.stat().st_size]
        if found:
            newest = max(found, key=lambda path: int(path.parent.name.removeprefix("chk-")))
            return Point(newest.parent.as_uri(), clean=False)
    return None


def missing(path: str) -> bool:
    """Whether a state on this machine's file system is not there; of others we cannot know."""
    at = urlsplit(path)
    return at.scheme in ("", "file") and not (Path(unquote(at.path)) / "_metadata").is_file()


def _file(settings: Settings) -> Path:
    return settings.data_dir / "stack" / "data" / "flink" / "runs.json"


def _save(settings: Settings, runs: Runs) -> None:
    file = _file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(runs))
    partial.replace(file)
