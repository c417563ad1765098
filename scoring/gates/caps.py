"""Frequency caps: no customer gets more than the policy allows, over all campaigns.

A message counts from its decision on. Of a window only the beginning is looked at: what was sent
"later" by event time, as happens when events come out of order, counts as well. So no window of any
position ever holds more than its cap, whatever the order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, tzinfo

from schemas.control import Campaign, Cap, Policy
from scoring.gates.base import Candidate, Gate, is_transactional
from scoring.zones import period_start_ms, zone, zone_of
from state.book import SENDS_LIMIT

_DAY_MS = 86_400_000
_LONGEST_MS = {"day": 2 * _DAY_MS, "week": 8 * _DAY_MS, "month": 32 * _DAY_MS}

Reached = Callable[[Candidate], bool]


def ready(spec: Campaign, policy: Policy) -> Gate | None:
    """Asks the caps over everything, then those of the category, then those of each channel."""
    if is_transactional(spec) or not policy.caps:
        return None
    home = zone(policy.default_zone) or UTC
    mine = [cap for cap in policy.caps if cap.category in (None, spec.category)]
    whole = [
        ("global_cap" if cap.category is None else "category_cap", _reached(cap, home))
        for cap in sorted(mine, key=lambda cap: cap.category is not None)
        if cap.channel is None
    ]
    narrow = [(cap.channel, _reached(cap, home)) for cap in mine if cap.channel in spec.channels]
    memory_ms = max(_longest_ms(cap) for cap in policy.caps)
    strict = any(cap.most == 0 for cap in mine)

    def gate(candidate: Candidate) -> str | None:
        sends = candidate.book.sends
        if not sends and not strict:
            return None
        for reason, reached in whole:
            if reached(candidate):
                return reason
        closed = [channel for channel, reached in narrow if reached(candidate)]
        if closed:
            candidate.channels = tuple(
                [channel for channel in candidate.channels if channel not in closed]
            )
            if not candidate.channels:
                return "channel_cap"
        if len(sends) >= SENDS_LIMIT:
            oldest_ms = min(send.at_ms for send in sends)
            if oldest_ms > candidate.at_ms - memory_ms:
                return "cap_memory"
        return None

    return gate


def _reached(cap: Cap, home: tzinfo) -> Reached:
    most, channel, category = cap.most, cap.channel, cap.category
    within_ms, per = cap.within_ms, cap.per

    def rolling(candidate: Candidate) -> bool:
        start_ms = candidate.at_ms - (within_ms or 0)
        at_ms = candidate.at_ms
        return candidate.book.sends_since(start_ms, at_ms, channel, category) >= most

    def calendar(candidate: Candidate) -> bool:
        where = zone_of(candidate.profile, home)
        at_ms = candidate.at_ms
        start_ms = period_start_ms(per or "day", at_ms, where) - 1
        return candidate.book.sends_since(start_ms, at_ms, channel, category) >= most

    return rolling if per is None else calendar


def _longest_ms(cap: Cap) -> int:
    return _LONGEST_MS[cap.per] if cap.per is not None else cap.within_ms or 0
