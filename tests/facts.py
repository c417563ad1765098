"""Short ways to write down what a customer did."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any, TypeVar

from state.fact import Fact
from state.tagging.base import Tag

TagT = TypeVar("TagT", bound=Tag)

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MONDAY = 1_699_833_600_000
"""A Monday, 00:00 UTC."""

_ids = count(1)


def fact(action: str = "view", at: float = 0, **fields: Any) -> Fact:
    """A fact, ``at`` milliseconds after `MONDAY`."""
    return Fact(MONDAY + int(at), next(_ids), 0, action, **fields)


def after(tag: TagT, facts: Iterable[Fact]) -> TagT:
    """The tag after the facts."""
    for each in facts:
        tag.apply(each)
    return tag
