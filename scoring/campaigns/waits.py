"""Waits that campaigns share: one thing that happened, and each campaign its own patience."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from schemas.control import Campaign
from scoring.campaigns.base import Seen, Spoken, Watch, trigger_of
from state.book import Armed, Book
from state.customer import Customer

if TYPE_CHECKING:
    from scoring.world import World


class Waits(Watch):
    """A watch with one wait for all its campaigns; each speaks when its own time is up.

    The wait is armed for the shortest patience, then for the next.
    """

    __slots__ = ("_stages",)

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        stages: defaultdict[int, list[Campaign]] = defaultdict(list)
        for spec in specs:
            stages[self.patience_ms(spec)].append(spec)
        self._stages: Final = sorted(stages.items())

    @classmethod
    def patience_ms(cls, spec: Campaign) -> int:
        """How long a campaign waits."""
        raise NotImplementedError

    def arm(self, seen: Seen) -> None:
        """Begin the wait with this fact, or begin it anew."""
        due_ms = seen.fact.ts + self._stages[0][0]
        seen.customer.book.armed[self.key] = seen.armed(due_ms)

    def begun_ms(self, book: Book) -> int | None:
        """When the wait in a book began, None when there is none."""
        armed = book.armed.get(self.key)
        return None if armed is None else armed.event_ms

    def plans(self, armed: Armed) -> Iterable[tuple[Campaign, int]]:
        """Each campaign with its own patience, those whose time has not come yet."""
        return [
            (spec, armed.event_ms + patience_ms)
            for patience_ms, specs in self._stages
            if armed.event_ms + patience_ms >= armed.due_ms
            for spec in specs
        ]

    def on_due(self, armed: Armed, customer: Customer, world: World) -> Iterable[Spoken]:
        """Let those speak whose time is up, about what began the wait; wait on for the others."""
        waited_ms = armed.due_ms - armed.event_ms
        for patience_ms, _ in self._stages:
            if patience_ms > waited_ms:
                customer.book.armed[self.key] = replace(armed, due_ms=armed.event_ms + patience_ms)
                break
        trigger = trigger_of(armed, armed.due_ms)
        return [
            (spec, trigger)
            for patience_ms, specs in self._stages
            if patience_ms == waited_ms
            for spec in specs
        ]
