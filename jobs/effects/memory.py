"""The file in which `beckon effects` keeps what it remembers: replaced in one step, or not at all.

One process at a time: it holds a lock beside the file for as long as it runs.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from jobs.settings import Settings
from schemas.errors import UserMistake
from scoring.effect.memory import State
from scoring.effect.tally import Tally

_decode: Final = msgspec.msgpack.Decoder(State).decode


class _Busy(Exception):
    """Somebody else holds the lock."""


def state_file(settings: Settings) -> Path:
    """Where the process keeps what it remembers."""
    return settings.data_dir / "effects.state"


def read_state(path: Path) -> State | None:
    """What was remembered; None where nothing was.

    Raises:
        UserMistake: the file is of another release, or broken.
    """
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise UserMistake(
            f"{path} cannot be read ({error}); remove it, and it is made anew from the topics"
        ) from error


def save_state(path: Path, state: State) -> None:
    """Replace the file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as out:
        out.write(msgspec.msgpack.encode(state))
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only one who changes the file.

    Raises:
        UserMistake: another process is.
    """
    try:
        with _locked(path):
            yield
    except _Busy:
        raise UserMistake(
            f"another process keeps {path}; stop it, or give this one a folder of its own "
            "(BECKON_DATA_DIR)"
        ) from None


def erase_at_rest(settings: Settings, gone: Callable[[str], bool]) -> int | None:
    """Take customers out of the file while no process keeps it; None where one does.

    That one asks for itself who is gone. Returns in how many places they were.
    """
    path = state_file(settings)
    if not path.parent.is_dir():
        return 0
    try:
        with _locked(path):
            state = read_state(path)
            if state is None:
                return 0
            places = Tally(state).erase(gone)
            save_state(path, state)
            return places
    except _Busy:
        return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _Busy from None
        yield
