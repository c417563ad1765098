"""Segment trigger: a customer enters or leaves a segment, by what they do or as time goes by."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from schemas.control import Campaign
from schemas.triggers import SegmentTrigger
from scoring.campaigns.base import Seen, Spoken, Watch, trigger_of
from scoring.conditions import View, audience
from scoring.conditions.turning import ViewAt, least, turning, turns_ms
from state.book import Armed, Book, Note
from state.customer import Customer
from state.fact import Fact

if TYPE_CHECKING:
    from scoring.world import World


MEMBERSHIPS: Final = "segments"
"""The key of the note."""


class SegmentWatch(Watch):
    """Fires when the segment's condition turns.

    One note serves all segments: its ``texts`` are the keys of those that the customer is in, and
    ``text`` says which segments there were when it was last made whole. Looked at are the facts
    that the dimensions of the condition listen to, and the moments at which time alone may turn it,
    for which a wait is armed. Who is inside already when first looked at was so before: that is no
    entry. What turns by an outcome, such as a click, is seen at the next event.
    """

    FILTERED = False
    HEARS_TAGS = True

    __slots__ = ("_turning", "holds", "least", "name")

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        trigger = specs[0].trigger
        assert isinstance(trigger, SegmentTrigger)
        segment = audience(trigger.segment)
        assert segment is not None, "a segment's condition is not empty: `fault` refuses it"
        self._turning: Final = turning(segment)
        self.holds: Final = segment.holds
        kinds = {tag for name in segment.names() if (tag := name.tag) is not None}
        if not any(kind.LISTENS is None or kind.OUTCOMES for kind in kinds):
            self.actions = frozenset().union(*(kind.LISTENS or () for kind in kinds))
        asked = least(segment)
        if asked is not None:
            self.name, self.least = asked
            self.led = True
        fields = {None if kind.OUTCOMES else kind.FIELD for kind in kinds}
        if len(fields) == 1:
            self.needs = fields.pop()

    @classmethod
    def pattern(cls, trigger: SegmentTrigger) -> tuple[object, ...]:
        """The segment; entry and exit are two sides of it."""
        return (trigger.segment,)

    def companions(self) -> Iterable[Watch]:
        """What looks at all segments that ask the same dimension for at least so much."""
        return (SegmentLadder(self),) if self.led else ()

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Who waited for this turn, if it is one."""
        now_ms = seen.customer.book.newest_ms
        note = _memberships(seen)
        inside = self.holds(seen.view_at(now_ms))
        self._look_again(seen.customer.book, now_ms, seen.view_at, seen)
        if not self._turns(note, inside) or not self.fits(seen.fact):
            return ()
        trigger = seen.trigger()
        return [(spec, trigger) for spec in self.specs if _entry(spec) == inside]

    def on_due(self, armed: Armed, customer: Customer, world: World) -> Iterable[Spoken]:
        """Who waited for this turn, if time has brought one; look again when it may next."""
        book = customer.book
        note = book.notes.get(MEMBERSHIPS)
        if note is None:
            return ()
        profile = customer.profile()
        now_ms = max(armed.due_ms, book.newest_ms)
        found = world.segmentation
        inside = self.holds(View(profile, now_ms, found))
        self._look_again(book, now_ms, lambda at_ms: View(profile, at_ms, found), armed)
        if not self._turns(note, inside) or self.when is not None:
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
        view = View(customer.profile(), max(now_ms, customer.book.newest_ms), world.segmentation)
        return pending if self.holds(view) == _entry(spec) else None

    def _turns(self, note: Note, inside: bool) -> bool:
        """Note on which side they are now; whether that is another than before."""
        if inside == (self.key in note.texts):
            return False
        if inside:
            note.texts.append(self.key)
        else:
            note.texts.remove(self.key)
        return True

    def _look_again(self, book: Book, now_ms: int, view_at: ViewAt, about: Seen | Armed) -> None:
        """Arm a wait for the first moment at which time may turn the segment."""
        if not self._turning:
            return
        armed = book.armed
        planned = armed.get(self.key)
        planned_ms = None if planned is None or planned.due_ms <= now_ms else planned.due_ms
        turn_ms = turns_ms(self._turning, view_at, now_ms, planned_ms)
        if turn_ms is None:
            armed.pop(self.key, None)
        elif isinstance(about, Seen):
            armed[self.key] = about.armed(turn_ms)
        else:
            armed[self.key] = replace(about, due_ms=turn_ms)


class SegmentLadder(Watch):
    """Shows a fact to those of its segments, one dimension's, that it can concern.

    Who asks for more than the customer has, and did not have them, is not looked at: neither this
    fact nor time can turn that.
    """

    FILTERED = False
    HEARS_TAGS = True

    __slots__ = ("_leasts", "_members", "_name")

    def __init__(self, first: SegmentWatch) -> None:
        super().__init__(f"ladder:{first.name.name}", ())
        self.actions, self.needs = first.actions, first.needs
        self._name: Final = first.name
        self._members: list[SegmentWatch] = []
        self._leasts: list[float] = []

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Whoever of them wants to speak."""
        if not self._members:
            self._gather(seen.world)
        value = self._name.get(seen.view_at(seen.customer.book.newest_ms))
        reached = 0 if value is None else bisect_right(self._leasts, float(value))
        looked_at = {watch.key: watch for watch in self._members[:reached]}
        inside, watches = _memberships(seen).texts, seen.world.index.watches
        for key in inside:
            watch = watches[key]
            if isinstance(watch, SegmentWatch) and watch.led and watch.name is self._name:
                looked_at[key] = watch
        spoken: list[Spoken] = []
        for watch in looked_at.values():
            spoken += watch.on_fact(seen)
        return spoken

    def _gather(self, world: World) -> None:
        """The segments of this dimension, by what they ask for; an index never changes."""
        of_name = [
            watch
            for watch in world.index.of_kind(SegmentWatch).watches
            if isinstance(watch, SegmentWatch) and watch.led and watch.name is self._name
        ]
        self._members = sorted(of_name, key=lambda watch: (watch.least, watch.key))
        self._leasts = [watch.least for watch in self._members]


def _memberships(seen: Seen) -> Note:
    """The note of all segments; what is new in it is as it was just before the fact."""
    notes, segments = seen.customer.book.notes, seen.world.index.of_kind(SegmentWatch)
    note = notes.get(MEMBERSHIPS)
    if note is None:
        note = notes[MEMBERSHIPS] = Note()
    if note.text != segments.signature:
        note.text = segments.signature
        if seen.customer.book.revision == 1:  # there is nothing before its first fact
            note.texts = [key for key in note.texts if key in seen.world.index.watches]
        else:
            note.texts = _insides(segments.watches, frozenset(note.texts), seen.before())
    return note


def _insides(watches: Iterable[Watch], known: frozenset[str], view: View) -> list[str]:
    """The keys of the segments that are known, or that a view is in.

    A dimension that many segments ask for at least so much of is read once.
    """
    values: dict[str, float | None] = {}
    inside: list[str] = []
    for watch in watches:
        assert isinstance(watch, SegmentWatch)
        if watch.key in known:
            inside.append(watch.key)
        elif watch.led:
            name = watch.name.name
            if name not in values:
                read = watch.name.get(view)
                values[name] = None if read is None else float(read)
            value = values[name]
            if value is not None and value >= watch.least and watch.holds(view):
                inside.append(watch.key)
        elif watch.holds(view):
            inside.append(watch.key)
    return inside


def _entry(spec: Campaign) -> bool:
    assert isinstance(spec.trigger, SegmentTrigger)
    return spec.trigger.on == "enter"
