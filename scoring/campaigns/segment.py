"""Segment trigger: a customer enters or leaves a segment, by what they do or as time goes by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from schemas.control import Campaign
from schemas.triggers import SegmentTrigger
from scoring.campaigns.base import Seen, Spoken, Watch, trigger_of
from scoring.conditions import View, audience
from scoring.conditions.compiled import Condition
from scoring.conditions.turning import turns_ms
from state.book import Armed
from state.customer import Customer
from state.fact import Fact
from state.profile import Profile

if TYPE_CHECKING:
    from scoring.world import World


class SegmentWatch(Watch):
    """Fires when the segment's condition turns.

    The note's ``count`` is 1 for a customer inside. Looked at are the facts that the dimensions of
    the condition listen to, and the moments at which time alone may turn it, for which a wait is
    armed. Who is inside already when first looked at was so before: that is no entry. What turns
    by an outcome, such as a click, is seen at the next event.
    """

    FILTERED = False

    __slots__ = ("_segment",)

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        trigger = specs[0].trigger
        assert isinstance(trigger, SegmentTrigger)
        segment = audience(trigger.segment)
        assert segment is not None, "a segment's condition is not empty: `fault` refuses it"
        self._segment: Final[Condition[View]] = segment
        kinds = {tag for name in segment.names() if (tag := name.tag) is not None}
        if not any(kind.LISTENS is None or kind.OUTCOMES for kind in kinds):
            self.actions = frozenset().union(*(kind.LISTENS or () for kind in kinds))
        fields = {None if kind.OUTCOMES else kind.FIELD for kind in kinds}
        if len(fields) == 1:
            self.needs = fields.pop()

    @classmethod
    def pattern(cls, trigger: SegmentTrigger) -> tuple[object, ...]:
        """The segment; entry and exit are two sides of it."""
        return (trigger.segment,)

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Who waited for this turn, if it is one."""
        fact, customer = seen.fact, seen.customer
        book, view = customer.book, seen.view
        inside = self._segment.holds(view)
        note = book.notes.get(self.key)
        if note is None:
            note = self.note(seen)
            note.count = self._was_inside(fact, customer)
        self._look_again(customer, book.newest_ms, seen)
        if inside == bool(note.count):
            return ()
        note.count = int(inside)
        if not self.fits(fact):
            return ()
        trigger = seen.trigger()
        return [(spec, trigger) for spec in self.specs if _entry(spec) == inside]

    def on_due(self, armed: Armed, customer: Customer, world: World) -> Iterable[Spoken]:
        """Who waited for this turn, if time has brought one; look again when it may next."""
        note = customer.book.notes.get(self.key)
        if note is None:
            return ()
        now_ms = max(armed.due_ms, customer.book.newest_ms)
        inside = self._segment.holds(View(customer.profile(), now_ms))
        self._look_again(customer, now_ms, armed)
        if inside == bool(note.count):
            return ()
        note.count = int(inside)
        if self.when is not None:
            return ()
        trigger = trigger_of(armed, armed.due_ms)
        return [(spec, trigger) for spec in self.specs if _entry(spec) == inside]

    def takes_back(
        self, spec: Campaign, fact: Fact, pending: Armed, customer: Customer, world: World
    ) -> bool:
        """The customer has turned back."""
        return self.still(spec, pending, fact.ts, customer, world) is None

    def still(
        self, spec: Campaign, pending: Armed, now_ms: int, customer: Customer, world: World
    ) -> Armed | None:
        """Nothing is left of an entry of who has left, nor of an exit of who has come back."""
        view = View(customer.profile(), max(now_ms, customer.book.newest_ms))
        return pending if self._segment.holds(view) == _entry(spec) else None

    def _look_again(self, customer: Customer, now_ms: int, about: Seen | Armed) -> None:
        """Arm a wait for the first moment at which time may turn the segment."""
        armed = customer.book.armed
        planned = armed.get(self.key)
        planned_ms = None if planned is None or planned.due_ms <= now_ms else planned.due_ms
        turn_ms = turns_ms(self._segment, customer.profile(), now_ms, planned_ms)
        if turn_ms is None:
            armed.pop(self.key, None)
        elif isinstance(about, Seen):
            armed[self.key] = about.armed(turn_ms)
        else:
            armed[self.key] = replace(about, due_ms=turn_ms)

    def _was_inside(self, fact: Fact, customer: Customer) -> int:
        """Whether they were inside just before this fact, of which nobody has noted anything."""
        if customer.book.revision == 1:
            return 0
        before = Profile(customer.base, [each for each in customer.tail if each is not fact])
        return int(self._segment.holds(View(before, fact.ts - 1)))


def _entry(spec: Campaign) -> bool:
    assert isinstance(spec.trigger, SegmentTrigger)
    return spec.trigger.on == "enter"
