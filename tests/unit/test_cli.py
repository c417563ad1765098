import signal
import subprocess
import sys

import pytest

from jobs import cli
from jobs.config import describe
from jobs.settings import Settings
from schemas.errors import UserMistake


def run(monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", ["beckon", *args])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code


def plant(monkeypatch, command, error):
    def boom():
        raise error

    monkeypatch.setitem(cli.COMMANDS, command, (f"{__name__}:boom", ""))
    monkeypatch.setattr(sys.modules[__name__], "boom", boom, raising=False)
    monkeypatch.setattr(cli, "import_module", lambda _: sys.modules[__name__])


def test_help_lists_every_command_and_imports_none_of_them():
    script = (
        "import sys; from jobs.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=True
    )
    for name, (_, summary) in cli.COMMANDS.items():
        assert f"{name} " in done.stdout
        assert summary in done.stdout
    loaded = set(done.stderr.split())
    heavy = {"pydantic", "confluent_kafka", "numpy", "rich", "pyflink", "jobs.kafka"}
    assert loaded & heavy == set()


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_of_the_table_can_be_loaded(name):
    assert callable(cli.load(cli.COMMANDS[name][0]).main)


def test_version_names_the_release(monkeypatch, capsys):
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("beckon 0.")


def test_a_mistake_is_one_line_and_exit_code_2(monkeypatch, capsys):
    plant(monkeypatch, "ledger", UserMistake("no broker answers; start one"))
    assert run(monkeypatch, "ledger") == 2
    assert capsys.readouterr().err == "beckon: no broker answers; start one\n"


def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch, capsys):
    plant(monkeypatch, "train", ModuleNotFoundError("No module", name="sklearn.linear_model"))
    assert run(monkeypatch, "train") == 2
    assert "pip install 'beckon[nightly]'" in capsys.readouterr().err


def test_a_module_that_no_extra_brings_is_a_bug_and_crashes(monkeypatch):
    plant(monkeypatch, "train", ModuleNotFoundError("No module", name="state.nowhere"))
    monkeypatch.setattr(sys, "argv", ["beckon", "train"])
    with pytest.raises(ModuleNotFoundError):
        cli.main()


def test_a_setting_of_the_wrong_type_is_named_by_its_variable(monkeypatch, capsys):
    monkeypatch.setenv("BECKON_KAFKA_PORT", "abc")
    assert run(monkeypatch, "config") == 2
    assert capsys.readouterr().err.startswith("beckon: BECKON_KAFKA_PORT: ")


def test_any_other_value_error_is_a_bug_and_crashes(monkeypatch):
    plant(monkeypatch, "ledger", ValueError("not ours"))
    monkeypatch.setattr(sys, "argv", ["beckon", "ledger"])
    with pytest.raises(ValueError, match="not ours"):
        cli.main()


def test_config_says_where_a_setting_comes_from(monkeypatch):
    monkeypatch.setenv("BECKON_KAFKA_PORT", "29092")
    lines = describe(Settings(), {"BECKON_KAFKA_PORT": "29092"})
    assert any(line.startswith("BECKON_KAFKA_PORT=29092 ") and "[environment]" in line
               for line in lines)  # fmt: skip
    assert any(line.startswith("BECKON_HOST=127.0.0.1 ") and "[default]" in line for line in lines)


def test_config_hides_a_password_and_names_a_variable_that_means_nothing():
    settings = Settings(redis_url="redis://:secret@far:6379/0")
    lines = describe(settings, {"BECKON_KAFAK_PORT": "1"})
    assert not any("secret" in line for line in lines)
    assert any("***@far" in line for line in lines)
    assert "BECKON_KAFAK_PORT is set and means nothing, did you mean BECKON_KAFKA_PORT?" in lines


def test_a_command_told_to_end_stops_what_it_started_first() -> None:
    code = (
        "import os, signal\n"
        "from jobs.cli import stop_in_order\n"
        "stop_in_order()\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    signal.pause()\n"
        "finally:\n"
        "    print('stopped')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("stopped\n", 128 + signal.SIGTERM)
