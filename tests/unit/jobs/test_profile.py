"""What `beckon profile` prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner, Result

from jobs import profile as command
from schemas.errors import StoreUnavailable, UserMistake
from state.profile import catalogue
from state.stores.memory import MemoryView
from tests.published import batch, decision, story

Show = Callable[..., Result]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    """Runs the command on a view that knows ann."""
    view = MemoryView()
    view.write(batch(view, *story("ann", 9), decision("ann", 5)))
    monkeypatch.setattr(command, "open_view", lambda settings, name: view)
    monkeypatch.setattr(command, "Console", lambda: Console(width=200))

    app = Typer()
    app.command()(command.profile)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return run


def test_tags_are_shown_by_kind_and_what_is_not_known_is_left_out(show: Show) -> None:
    shown = show("ann").output
    assert "ann as of 2023-11-14 22:13:29.000" in shown
    assert shown.index("counters") < shown.index("brands") < shown.index("carts")
    assert "view_count_total" in shown
    assert "refund_count_total" not in shown
    assert f"of {len(catalogue())} dimensions; 9 events and outcomes" in shown


def test_all_shows_every_dimension(show: Show) -> None:
    shown = show("ann", "--all").output
    assert all(dimension.name in shown for dimension in catalogue())


def test_history_is_shown_newest_first_with_decisions_in_between(show: Show) -> None:
    lines = show("ann", "--history", "--limit", "6").output.splitlines()
    rows = [line.split("│")[2].strip() for line in lines if "2023-11-14" in line]
    assert rows == [
        "view",
        "purchase",
        "cart",
        "view",
        "→ send viewed-again by push",
        "purchase",
    ]


def test_a_program_gets_json(show: Show) -> None:
    told = json.loads(show("ann", "--json").output)
    assert (told["user_id"], told["revision"]) == ("ann", 9)
    assert len(told["dimensions"]) == len(catalogue())
    assert len(json.loads(show("ann", "--history", "--json", "--limit", "3").output)) == 3


@pytest.mark.parametrize(("option", "store"), [("--json", "redis"), ("--history", "hbase")])
def test_an_unknown_customer_is_told_so(show: Show, option: str, store: str) -> None:
    refused = show("bob", option).exception
    assert isinstance(refused, UserMistake)
    assert str(refused).startswith(f"{store} knows no customer 'bob'")


def test_a_store_that_is_away_is_named_with_what_to_do(
    show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away(MemoryView):
        def read(self, user: str) -> None:
            raise StoreUnavailable("Redis at localhost:1")

    monkeypatch.setattr(command, "open_view", lambda settings, name: Away())
    refused = show("ann").exception
    assert isinstance(refused, UserMistake)
    assert "Redis at localhost:1" in str(refused)
    assert "beckon stack up" in str(refused)


def test_markup_in_a_customers_data_is_text(show: Show) -> None:
    entries = MemoryView()
    entries.write(batch(entries, decision("[red]ann[/red]", reason="[bold]x[/]")))
    console = Console(width=200, record=True, file=StringIO())
    console.print(command.history_table("[red]ann[/red]", entries.history("[red]ann[/red]", 1)))
    told = console.export_text()
    assert "[red]ann[/red]" in told
    assert "[bold]x[/]" in told
