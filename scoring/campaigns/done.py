"""What a customer has done of some actions: remembered once, for all campaigns that ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from xxhash import xxh3_64_hexdigest

from scoring.campaigns.base import Seen, Spoken, Watch, among, names
from state.book import Note
from state.customer import Customer
from state.tagging.recent import Recent

ITEMS_LIMIT: Final = 64
"""Items done last that are remembered."""


class DoneWatch(Watch):
    """Speaks for nobody; other watches read its note.

    The note's ``last_ms`` is the newest time, its ``texts`` are the items, oldest first.
    """

    __slots__ = ()

    def __init__(self, actions: tuple[str, ...]) -> None:
        super().__init__(done_key(actions), ())
        self.actions = names(actions)

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Remember it."""
        fact, customer = seen.fact, seen.customer
        note = customer.book.notes.get(self.key)
        if note is None:
            note = self.note(seen)
            note.texts = recently_done(customer, self.actions)[-ITEMS_LIMIT:]
        note.last_ms = max(note.last_ms, fact.ts)
        if fact.item is not None:
            _append(note, fact.item)
        return ()

    def on_late_fact(self, seen: Seen) -> None:
        """What comes late was done all the same."""
        self.on_fact(seen)


def recently_done(customer: Customer, actions: frozenset[str] | None) -> list[str]:
    """Items of the last events, for a customer of whom nothing was noted yet."""
    if customer.book.revision <= 1:
        return []
    recent = customer.profile().tag(Recent)
    return [
        item
        for action, item in zip(recent.actions, recent.items, strict=True)
        if item is not None and among(action, actions)
    ]


def done_key(actions: tuple[str, ...]) -> str:
    """The key of the note of what was done of these actions."""
    return f"done:{xxh3_64_hexdigest(msgspec.json.encode(sorted(actions)))}"


def _append(note: Note, item: str) -> None:
    items = note.texts
    if item in items:
        items.remove(item)
    items.append(item)
    del items[:-ITEMS_LIMIT]
