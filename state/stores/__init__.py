"""Adapters to the stores that show the truth to others; the only I/O under `state`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from state.stores.base import View
from state.stores.hbase_view import HBaseView
from state.stores.redis_view import RedisView

STORES: Final[dict[str, Callable[[str], View]]] = {
    "redis": RedisView,
    "hbase": HBaseView,
}
"""Name → what opens it, given a URL. A new store is one file and one line here."""
