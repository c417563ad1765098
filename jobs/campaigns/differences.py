"""What is different between two versions of a campaign, in the words of its file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from jobs.campaigns.files import Record
from jobs.campaigns.spelling import field, quantity

_PUBLISHED: Final = frozenset({"version", "updated_ms", "schema_version"})
"""What publishing sets, and no file."""


def differences(before: Record, after: Record) -> list[str]:
    """One line for each field that is not the same: ``holdout: 5% → 10%``."""
    old, new = dict(_fields(before)), dict(_fields(after))
    lines = []
    for steps in dict.fromkeys((*old, *new)):
        was, becomes = (each.get(steps) for each in (old, new))
        if was != becomes:
            name = steps[-1]
            lines.append(f"{field(steps)}: {quantity(name, was)} → {quantity(name, becomes)}")
    return lines


def _fields(record: Record) -> Iterator[tuple[tuple[str, ...], Any]]:
    content = msgspec.to_builtins(record)
    for name, value in content.items():
        if name not in _PUBLISHED:
            yield from _leaves((name,), value)


def _leaves(steps: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The single values in a value; lists are taken whole, they are short."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves((*steps, name), inner)
    else:
        yield steps, value
