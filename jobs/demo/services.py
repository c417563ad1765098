"""Our own processes beside the stream, as the demo and proofs run them: begun, watched, ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from jobs.settings import Settings
from schemas.errors import UserMistake

BESIDE: Final = (("projector",), ("archive", "--every-s", "5"), ("effects",))
"""What runs beside the stream for the whole product to be there."""
_PATIENCE_S: Final = 30.0
_TAIL: Final = 12


@contextmanager
def service(settings: Settings, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """One of our commands that runs until it is told to stop, as the process of its own that it is.

    It logs into the data directory. At the end it is told to stop, as by an operator.

    Raises:
        UserMistake: it ended by itself, or did not end well; the end of its log is in the text.
    """
    process = start(settings, *words)
    try:
        yield process
    except BaseException:
        _end(process)
        raise
    check(settings, words, process)
    if code := _end(process):
        raise _mistake(settings, words, f"did not stop well (exit code {code})")


def check(settings: Settings, words: Sequence[str], process: subprocess.Popen[bytes]) -> None:
    """See that such a process still runs.

    Raises:
        UserMistake: it ended by itself; the end of its log is in the text.
    """
    code = process.poll()
    if code is not None:
        raise _mistake(settings, words, f"ended by itself (exit code {code})")


def start(settings: Settings, *words: str) -> subprocess.Popen[bytes]:
    """Begin such a process, for whoever ends it in another way."""
    log = log_of(settings, words[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(command(*words), env=environment(settings), stdout=out, stderr=out)


def log_of(settings: Settings, name: str) -> Path:
    """Where a process logs."""
    return settings.data_dir / f"{name}.log"


@contextmanager
def services(
    settings: Settings, every: tuple[tuple[str, ...], ...] = BESIDE
) -> Iterator[Callable[[], None]]:
    """Several of them; what is yielded is to be called now and then, and does what `check` does."""
    with ExitStack() as running:
        processes = [(words, running.enter_context(service(settings, *words))) for words in every]

        def check_all() -> None:
            for words, process in processes:
                check(settings, words, process)

        yield check_all


def beckon(settings: Settings, *words: str) -> str:
    """Run one of our own commands to its end; returns what it printed.

    Raises:
        UserMistake: it failed; what it printed is in the text.
    """
    ran = subprocess.run(
        command(*words), env=environment(settings), capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise UserMistake(f"beckon {' '.join(words)} failed:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def command(*words: str) -> list[str]:
    """One of our commands, by this interpreter."""
    return [sys.executable, "-c", "from jobs.cli import main; main()", *words]


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a child process reads them."""
    values = settings.model_dump(mode="json", exclude_none=True)
    return {
        **os.environ,
        **{f"BECKON_{name.upper()}": str(value) for name, value in values.items()},
        "PYTHONUNBUFFERED": "1",
    }


def _mistake(settings: Settings, words: Sequence[str], how: str) -> UserMistake:
    log = log_of(settings, words[0]).read_text("utf-8", "replace").splitlines()
    tail = "\n".join(log[-_TAIL:])
    return UserMistake(f"beckon {' '.join(words)} {how}:\n{tail}")


def _end(process: subprocess.Popen[bytes]) -> int:
    """Tell a process to stop, kill it if it does not; returns its exit code."""
    process.terminate()
    try:
        return process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
