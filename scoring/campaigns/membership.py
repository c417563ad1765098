"""Membership trigger: so long before a membership ends."""

from __future__ import annotations

from schemas.control import Campaign
from schemas.event import Traits
from schemas.triggers import MembershipTrigger
from scoring.campaigns.dates import DateWatch


class MembershipWatch(DateWatch):
    """Fires ``before_ms`` before ``member_until_ms``; a renewal moves the date."""

    __slots__ = ()

    @classmethod
    def pattern(cls, trigger: MembershipTrigger) -> tuple[object, ...]:
        """There is one date; campaigns differ in how long before it they speak."""
        return ()

    @classmethod
    def lead_ms(cls, spec: Campaign) -> int:
        """The campaign's ``before_ms``."""
        assert isinstance(spec.trigger, MembershipTrigger)
        return spec.trigger.before_ms

    @classmethod
    def date_ms(cls, traits: Traits) -> int | None:
        """When the membership ends."""
        return traits.member_until_ms
