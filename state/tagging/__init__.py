"""The kinds of tag. A new kind is one file and one line here; the contract suite finds it."""

from __future__ import annotations

from typing import Final

from state.tagging.base import Tag
from state.tagging.counters import Counters

TAG_KINDS: Final[dict[str, type[Tag]]] = {
    "counters": Counters,
}
"""Name → kind. The order is that of the persisted bytes: append only."""
