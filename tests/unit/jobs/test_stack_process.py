"""Only processes that we started are ever ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from jobs.stack import process
from jobs.stack.process import Note, Notes

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


def wait_for(path: Path, text: str) -> None:
    for _ in range(1000):
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.02)
    pytest.fail(f"{path} never said {text!r}")


def start(folder: Path, code: str) -> Note:
    note = process.spawn(
        "sleeper",
        "sleepers",
        [sys.executable, "-c", code],
        os.environ,
        out=folder / "out",
        log=folder / "log",
        ports={"x_port": 1},
    )
    wait_for(folder / "out", "up")
    return note


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Note]:
    note = start(tmp_path, SLEEPER)
    yield note
    process.stop(note, 5)


def test_a_started_process_leads_a_session_of_its_own(sleeper: Note) -> None:
    assert sleeper.alive()
    assert os.getsid(sleeper.pid) == sleeper.pid != os.getsid(0)


def test_a_stopped_process_is_gone_and_leaves_no_zombie(sleeper: Note) -> None:
    assert process.stop(sleeper, 10)
    assert not sleeper.alive()
    assert not Path(f"/proc/{sleeper.pid}").exists()


def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    note = start(tmp_path, STUBBORN)
    assert not process.stop(note, 0.2), "it took force"
    assert not note.alive()


@pytest.mark.parametrize("change", [{"started_ticks": 1}, {"boot_id": "another boot"}])
def test_a_pid_that_now_belongs_to_another_is_neither_alive_nor_killed(
    sleeper: Note, change: dict[str, str | int]
) -> None:
    recycled = msgspec.structs.replace(sleeper, **change)
    assert not recycled.alive()
    assert process.stop(recycled, 1)
    assert sleeper.alive(), "the other process was left alone"


def test_a_killed_child_that_nobody_waited_for_is_dead(sleeper: Note) -> None:
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # now a zombie
    assert process.started_ticks(sleeper.pid) is None
    assert not sleeper.alive()


def test_a_name_with_parentheses_does_not_confuse_the_start_time(tmp_path: Path) -> None:
    strange = tmp_path / "a) S (b"
    strange.symlink_to(sys.executable)
    note = process.spawn(
        "x", "x", [strange, "-c", SLEEPER], os.environ, out=tmp_path / "o", log=tmp_path, ports={}
    )
    try:
        wait_for(tmp_path / "o", "up")
        ticks = process.started_ticks(note.pid)
        own = process.started_ticks(os.getpid())
        assert ticks is not None
        assert own is not None
        assert ticks >= own
    finally:
        process.stop(note, 5)


def test_notes_are_kept_read_and_dropped(tmp_path: Path, sleeper: Note) -> None:
    notes = Notes(tmp_path / "run")
    assert notes.all() == []
    notes.write(sleeper)
    assert Notes(tmp_path / "run").all() == [sleeper]
    assert notes.get("sleeper") == sleeper
    notes.drop("sleeper")
    assert notes.get("sleeper") is None


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert process.tail(log) == ""
    log.write_text("\n".join(map(str, range(10_000))))
    assert process.tail(log, lines=3) == "9997\n9998\n9999"
