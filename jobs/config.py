"""``beckon config``: the settings in force and where each comes from."""

from __future__ import annotations

import os
from difflib import get_close_matches
from typing import Final
from urllib.parse import urlsplit

import typer

from jobs.settings import Settings

PREFIX: Final = "BECKON_"


def config() -> None:
    """Print the settings in force and where they come from."""
    for line in describe(Settings(), dict(os.environ)):
        typer.echo(line)


def describe(settings: Settings, environ: dict[str, str]) -> list[str]:
    """One line for each setting, then one for each variable that names none."""
    names = {PREFIX + name.upper(): name for name in Settings.model_fields}
    given = {key.upper() for key in environ}
    lines = []
    for variable, name in names.items():
        if variable in given:
            source = "environment"
        elif name in settings.model_fields_set:
            source = "beckon.env"
        else:
            source = "default"
        about = Settings.model_fields[name].description
        setting = f"{variable}={_shown(getattr(settings, name))}"
        lines.append(f"{setting:<48} [{source}] {about or ''}".rstrip())
    for key in sorted(key for key in given if key.startswith(PREFIX) and key not in names):
        close = get_close_matches(key, names, 1)
        hint = f", did you mean {close[0]}?" if close else ""
        lines.append(f"{key} is set and means nothing{hint}")
    return lines


def _shown(value: object) -> str:
    if value is None:
        return "(unset)"
    text = str(value)
    password = urlsplit(text).password if "://" in text else None
    return text.replace(f":{password}@", ":***@") if password else text
