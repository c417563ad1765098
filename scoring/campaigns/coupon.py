"""Coupon trigger: an offer of their own for a customer who holds none of this campaign."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from schemas.control import Campaign
from schemas.triggers import DAY_MS, CouponTrigger
from scoring.campaigns.base import Seen, Spoken, Watch, among, names, resting
from scoring.campaigns.done import DoneWatch
from state.book import Armed, Book
from state.customer import Customer
from state.fact import Fact

if TYPE_CHECKING:
    from scoring.world import World


class CouponWatch(Watch):
    """Fires at one of ``actions`` unless the last coupon is valid still and was not redeemed."""

    __slots__ = ("_redeemed", "_redeemed_by")

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        trigger = specs[0].trigger
        assert isinstance(trigger, CouponTrigger)
        self.actions = names(trigger.actions)
        self._redeemed: Final = DoneWatch(trigger.redeemed_by)
        self._redeemed_by: Final = self._redeemed.actions

    @classmethod
    def pattern(cls, trigger: CouponTrigger) -> tuple[object, ...]:
        """What begins it, and what uses a coupon up."""
        return trigger.actions, trigger.redeemed_by

    def companions(self) -> Iterable[Watch]:
        """Who remembers when a coupon could last have been redeemed."""
        return (self._redeemed,)

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Who has no coupon out with this customer."""
        fact, book = seen.fact, seen.customer.book
        return [
            (spec, seen.trigger())
            for spec in self.specs
            if not resting(spec, fact.ts, book) and not self._is_out(spec, fact.ts, book)
        ]

    def takes_back(
        self, spec: Campaign, fact: Fact, pending: Armed, customer: Customer, world: World
    ) -> bool:
        """Who has bought meanwhile needs no coupon to be won."""
        return among(fact.action, self._redeemed_by) and fact.ts >= pending.event_ms

    def _is_out(self, spec: Campaign, at_ms: int, book: Book) -> bool:
        given_ms = book.last_sent.get(spec.id)
        if given_ms is None or at_ms >= given_ms + spec.offer.valid_days * DAY_MS:
            return False
        note = book.notes.get(self._redeemed.key)
        return note is None or note.last_ms < given_ms
