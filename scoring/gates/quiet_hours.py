"""Quiet hours: nobody is disturbed at night, by the clock where they live."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Final

from schemas.control import Campaign, Policy
from scoring.gates.base import Candidate, is_transactional
from scoring.zones import Span, zone, zone_of
from state.book import DEFERRED_LIMIT


class QuietHours:
    """Defers to the end of the quiet hours, or drops, as the campaign says."""

    __slots__ = ("_defers", "_home", "_name", "_span")

    def __init__(self, spec: Campaign, span: Span, home: tzinfo) -> None:
        self._name: Final = spec.id
        self._defers: Final = spec.quiet_hours == "defer"
        self._span: Final = span
        self._home: Final = home

    def __call__(self, candidate: Candidate) -> str | None:
        """Asks what time it is where the customer lives."""
        at_ms, span = candidate.at_ms, self._span
        where = zone_of(candidate.profile, self._home)
        if not span.holds(at_ms, where):
            return None
        if not self._defers:
            return "quiet_hours"
        due_ms = span.ends_ms(at_ms, where)
        if due_ms >= candidate.lasts_until_ms:
            return "stale_by_morning"
        waiting = candidate.book.deferred
        if len(waiting) >= DEFERRED_LIMIT and self._name not in waiting:
            return "too_many_waiting"
        candidate.due_ms = due_ms
        return "deferred"

    def begin_ms(self, candidate: Candidate) -> int:
        """When the next quiet hours begin: a message that is not out by then must not go out."""
        return self._span.starts_ms(candidate.at_ms, zone_of(candidate.profile, self._home))


def ready(spec: Campaign, policy: Policy) -> QuietHours | None:
    """The gate, where the policy has quiet hours and the message is none that is owed."""
    hours = policy.quiet_hours
    if hours is None or is_transactional(spec):
        return None
    return QuietHours(spec, Span(hours.start, hours.end), zone(policy.default_zone) or UTC)
