"""``beckon campaigns names``: what a campaign's conditions may speak of."""

from __future__ import annotations

from typing import Annotated

import typer

from schemas.errors import UserMistake
from scoring.conditions.names import Name, of_event, of_profile


def names(
    words: Annotated[
        list[str] | None, typer.Argument(help="Only names with one of these in name or meaning.")
    ] = None,
) -> None:
    """List the names that `audience` and `when` know, with unit and meaning."""
    wanted = [word.lower() for word in words or [""]]
    found = 0
    for place, vocabulary in (("audience", of_profile()), ("when", of_event())):
        for name in vocabulary.names.values():
            line = f"{place:<9} {_line(name)}"
            if any(word in line.lower() for word in wanted):
                typer.echo(line)
                found += 1
    if not found:
        raise UserMistake(f"no name has {' or '.join(words or ())} in it or in its meaning")


def _line(name: Name) -> str:  # type: ignore[type-arg]
    kind = f"one of {', '.join(name.words)}" if name.words else name.type
    unit = f" ({name.unit})" if name.unit else ""
    return f"{name.name:<36} {kind + unit:<24} {name.meaning}"
