"""``beckon profile``: what the views show of a customer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from jobs.settings import Settings
from jobs.views import open_view
from schemas.errors import StoreUnavailable, UserMistake
from schemas.wire import encode
from state.stores.base import Entry, Shown
from state.tagging import TAG_KINDS
from state.tagging.base import Value

UNKNOWN = (
    "{store} knows no customer {user!r}: there was no event of theirs, or `beckon projector` has "
    "not come to it yet"
)


def profile(
    user: Annotated[str, typer.Argument(help="The customer's id.")],
    history: Annotated[
        bool, typer.Option("--history", help="Behaviour and decisions, newest first, from HBase.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of history.")] = 20,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is not known, or is zero.")
    ] = False,
) -> None:
    """Show what is known of a customer: tags from Redis, history from HBase."""
    store = "hbase" if history else "redis"
    view = open_view(Settings(), store)
    try:
        found: Shown | list[Entry] | None = (
            view.history(user, limit) if history else view.read(user)
        )
    except StoreUnavailable as error:
        raise UserMistake(f"{error}. Start it with `beckon stack up`.") from error
    finally:
        view.close()
    if not found:
        raise UserMistake(UNKNOWN.format(store=store, user=user))
    if as_json:
        typer.echo(encode(found).decode())
    elif isinstance(found, Shown):
        Console().print(tags_table(found, everything=everything))
    else:
        Console().print(history_table(user, found))


def tags_table(shown: Shown, *, everything: bool) -> Group:
    """Dimensions by kind of tag, a kind of which nothing is known left out."""
    table = Table(title=f"{escape(shown.user_id)} as of {_time(shown.event_ms)}")
    for column in ("tag", "dimension", "value", "unit"):
        table.add_column(column, justify="right" if column == "value" else "left")
    told = 0
    for name, kind in TAG_KINDS.items():
        rows = [
            (dimension, value)
            for dimension in kind.catalogue()
            if (value := shown.dimensions.get(dimension.name)) or everything
        ]
        for place, (dimension, value) in enumerate(rows):
            table.add_row(
                name if place == 0 else "",
                dimension.name,
                _value(value),
                dimension.unit,
                end_section=place == len(rows) - 1,
            )
        told += len(rows)
    of = f"{told} of {len(shown.dimensions)} dimensions; {shown.revision} events and outcomes"
    return Group(table, of if everything else f"{of}. --all shows zero and unknown ones too.")


def history_table(user: str, entries: list[Entry]) -> Table:
    """One row for each fact or decision."""
    table = Table(title=f"{escape(user)}, newest first")
    for column in ("time (UTC)", "what", "details"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        body = dict(entry.body)
        if entry.kind == "fact":
            what = str(body.pop("action"))
        else:
            what = f"→ {body.pop('status')} {body.pop('campaign_id')} by {body.pop('channel')}"
            body = {name: body[name] for name in _DECISION_DETAILS if name in body}
        details = ", ".join(f"{name} {_value(value)}" for name, value in body.items())
        table.add_row(_time(entry.ts), escape(what), details)
    return table


_DECISION_DETAILS = ("decision_id", "score", "propensity", "trigger", "reason", "item_id", "offer")


def _time(moment_ms: int) -> str:
    moment = datetime.fromtimestamp(moment_ms / 1_000, UTC)
    return moment.isoformat(" ", "milliseconds").removesuffix("+00:00")


def _value(value: Value | dict[str, Any]) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, dict):
        return escape(" ".join(f"{name}={part}" for name, part in value.items()))
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
