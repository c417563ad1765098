"""Count trigger: A at least n times, within a window or in all time."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from typing import Final

from schemas.control import Campaign
from schemas.event import ACTIONS
from schemas.triggers import CountTrigger
from scoring.campaigns.base import Seen, Spoken, Watch, among, names, resting
from state.tagging.counters import Counters


class CountWatch(Watch):
    """Fires when ``actions`` were seen ``at_least`` times: in the window, or ever.

    The note holds the newest times, as many as the greatest window's threshold; or ``count`` of
    all time, and ``seen``, what it was when somebody could last speak. A customer passes each
    threshold of all time once, so one alert needs no memory of its own. What a customer did before
    the first campaign asked is taken from the profile.
    """

    __slots__ = ("_kept", "_leasts", "_thresholds", "_windows")

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        self._windows: Final[list[tuple[int, int, Campaign]]] = []
        self._thresholds: Final[list[tuple[int, Campaign]]] = []
        for spec in specs:
            trigger = spec.trigger
            assert isinstance(trigger, CountTrigger)
            self.actions = names(trigger.actions)
            if trigger.within_ms is None:
                self._thresholds.append((trigger.at_least, spec))
            else:
                self._windows.append((trigger.at_least, trigger.within_ms, spec))
        self._windows.sort(key=lambda each: each[0])
        self._thresholds.sort(key=lambda each: each[0])
        self._leasts: Final = [at_least for at_least, _ in self._thresholds]
        self._kept: Final = self._windows[-1][0] if self._windows else 0

    @classmethod
    def pattern(cls, trigger: CountTrigger) -> tuple[object, ...]:
        """What is counted; one count serves every threshold and every window."""
        return trigger.actions, trigger.within_ms is None

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Who has just enough of all time, or enough in the window."""
        if self._kept:
            return self._in_window(seen)
        book = seen.customer.book
        note = book.notes.get(self.key)
        if note is None:
            note = self.note(seen)
            note.count = self._so_far(seen)
        else:
            note.count += 1
        before, note.seen = note.seen, note.count
        leasts = self._leasts
        first = bisect_right(leasts, before)
        if first == len(leasts) or note.count < leasts[first]:
            return ()
        last = bisect_right(leasts, note.count)
        return [(spec, seen.trigger()) for _, spec in self._thresholds[first:last]]

    def on_late_fact(self, seen: Seen) -> None:
        """Count it; who has enough by it may say so at the next event."""
        note = seen.customer.book.notes.get(self.key)
        if note is None:
            return
        if self._kept:
            insort(note.times, seen.fact.ts)
            del note.times[: -self._kept]
        else:
            note.count += 1

    def _in_window(self, seen: Seen) -> Iterable[Spoken]:
        fact, book = seen.fact, seen.customer.book
        times = self.note(seen).times
        insort(times, fact.ts)
        del times[: -self._kept]
        spoken: list[Spoken] = []
        for at_least, within_ms, spec in self._windows:
            if at_least > len(times):
                break
            if times[-1] - times[-at_least] < within_ms and not resting(spec, fact.ts, book):
                spoken.append((spec, seen.trigger()))
        return spoken

    def _so_far(self, seen: Seen) -> int:
        """How many there were before anybody counted, this fact included."""
        customer = seen.customer
        if customer.book.revision == 1 or self.when is not None:
            return 1
        lifetime = customer.profile().tag(Counters).lifetime
        if self.actions is None:
            return sum(lifetime)
        known = sum(
            count
            for action, count in zip(ACTIONS, lifetime, strict=False)
            if among(action, self.actions)
        )
        return known if seen.fact.action in ACTIONS else known + 1
