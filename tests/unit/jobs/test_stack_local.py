"""The local stack's life, with toy servers instead of real ones."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.servers import free_port
from jobs.settings import Settings
from jobs.stack import commands, local
from jobs.stack.errors import StackError
from jobs.stack.local import LocalStack
from jobs.stack.server import Server, Site, listens

LISTEN = """
import socketserver, sys
socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer(("127.0.0.1", int(sys.argv[1])), None).serve_forever()
"""
DIE = "print('I have no disk left'); raise SystemExit(3)"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, redis_port=free_port(), kafka_port=free_port())


@pytest.fixture
def stack(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStack]:
    """A stack of one toy, called "redis", whose code is LISTEN."""

    def toy(site: Site) -> list[Server]:
        port = site.settings.redis_port
        return [
            Server(
                name="redis",
                command=[sys.executable, "-c", LISTEN, str(port)],
                environment=os.environ,
                ports={"redis_port": port},
                ready=lambda: listens("127.0.0.1", port),
            )
        ]

    monkeypatch.setattr(local, "BUILDERS", {"redis": toy})
    stack = LocalStack(settings)
    yield stack
    stack.down()


def test_up_starts_and_a_second_up_changes_nothing(stack: LocalStack) -> None:
    first = stack.up()
    assert [(state.name, state.alive) for state in first] == [("redis", True)]
    assert stack.up() == first


def test_a_killed_server_is_shown_dead_and_up_revives_it(stack: LocalStack) -> None:
    (before,) = stack.up()
    os.kill(before.pid, signal.SIGKILL)
    os.waitid(os.P_PID, before.pid, os.WEXITED | os.WNOWAIT)
    assert [state.alive for state in stack.status()] == [False]
    (after,) = stack.up()
    assert after.alive
    assert after.pid != before.pid


def test_down_leaves_nothing_and_may_be_said_twice(stack: LocalStack) -> None:
    (state,) = stack.up()
    stack.down()
    stack.down()
    assert stack.status() == []
    assert not Path(f"/proc/{state.pid}").exists()


def test_a_taken_port_is_named_with_the_setting_to_change(
    stack: LocalStack, settings: Settings
) -> None:
    with socket.create_server(("127.0.0.1", settings.redis_port)), pytest.raises(StackError) as why:
        stack.up()
    assert f"127.0.0.1:{settings.redis_port}" in str(why.value)
    assert "BECKON_REDIS_PORT" in str(why.value)
    assert stack.status() == []


def test_a_server_that_dies_at_its_start_shows_the_end_of_its_log(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "LISTEN", DIE)
    with pytest.raises(StackError, match=r"(?s)redis died at its start.*I have no disk left"):
        stack.up()


def test_a_server_that_never_answers_is_given_up(
    stack: LocalStack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "LISTEN", "import time; time.sleep(600)")
    hasty = LocalStack(settings.model_copy(update={"start_timeout_s": 0.3}))
    with pytest.raises(StackError, match="redis does not answer"):
        hasty.up()


def test_a_running_server_under_other_settings_is_not_taken_for_the_wanted_one(
    stack: LocalStack, settings: Settings
) -> None:
    stack.up()
    moved = LocalStack(settings.model_copy(update={"redis_port": free_port()}))
    with pytest.raises(StackError, match="beckon stack down"):
        moved.up()


def test_an_unknown_server_is_refused_with_the_known_ones(stack: LocalStack) -> None:
    with pytest.raises(StackError, match=r"called cassandra: there are redis"):
        stack.up(["cassandra"])


def test_wipe_deletes_the_stack_and_nothing_beside_it(
    stack: LocalStack, settings: Settings
) -> None:
    stack.up()
    beside = settings.data_dir / "mine.txt"
    beside.touch()
    stack.wipe()
    assert list(settings.data_dir.iterdir()) == [beside]


@pytest.fixture
def run(stack: LocalStack, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setattr(commands, "Settings", lambda: settings)
    return CliRunner()


def test_the_commands_tell_the_story_in_lines(run: CliRunner, stack: LocalStack) -> None:
    up = run.invoke(commands.app, ["up", "redis"])
    assert up.exit_code == 0
    assert "redis starts" in up.stderr
    assert "redis ready" in up.stderr
    told = json.loads(run.invoke(commands.app, ["status", "--json"]).stdout)
    assert [(each["name"], each["alive"]) for each in told] == [("redis", True)]
    assert str(told[0]["pid"]) in run.invoke(commands.app, ["status"]).stdout
    assert run.invoke(commands.app, ["down"]).exit_code == 0
    assert "beckon stack up" in run.invoke(commands.app, ["status"]).stdout


def test_status_fails_when_a_server_died(run: CliRunner, stack: LocalStack) -> None:
    (state,) = stack.up()
    os.kill(state.pid, signal.SIGKILL)
    os.waitid(os.P_PID, state.pid, os.WEXITED | os.WNOWAIT)
    assert run.invoke(commands.app, ["status"]).exit_code == 1


def test_a_refusal_is_a_mistake_in_a_sentence_as_of_every_other_command(run: CliRunner) -> None:
    done = run.invoke(commands.app, ["up", "cassandra"])
    assert isinstance(done.exception, StackError)
    assert str(done.exception).startswith("no server is called cassandra")


def test_wipe_asks_first(run: CliRunner, stack: LocalStack) -> None:
    stack.up()
    assert run.invoke(commands.app, ["wipe"], input="n\n").exit_code == 1
    assert stack.status()[0].alive
    assert run.invoke(commands.app, ["wipe", "--yes"]).exit_code == 0
    assert not stack.root.exists()
