"""Where the views are: the stores of `state.stores` opened as the settings say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from jobs.settings import Settings
from schemas.errors import UserMistake
from state.stores import STORES
from state.stores.base import View

URLS: Final[dict[str, Callable[[Settings], str]]] = {
    "redis": lambda settings: settings.redis,
    "hbase": lambda settings: f"thrift://{settings.hbase_host}:{settings.hbase_thrift_port}",
}
"""Name of a store → its URL."""


def open_view(settings: Settings, name: str) -> View:
    """The view of a name; it connects when it is first used.

    Raises:
        UserMistake: there is no such store.
    """
    if name not in STORES:
        raise UserMistake(f"no store {name!r}: choose of {', '.join(STORES)}")
    return STORES[name](URLS[name](settings))
