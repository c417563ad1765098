"""Coupon trigger: an offer of their own for a customer who holds none of this campaign."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from schemas.control import Campaign
from schemas.triggers import DAY_MS, CouponTrigger
from scoring.campaigns.base import Seen, Spoken, Watch, among, names, resting
from state.book import Armed, Book
from state.customer import Customer
from state.fact import Fact

if TYPE_CHECKING:
    from scoring.world import World


class CouponWatch(Watch):
    """Fires at one of ``actions`` unless the last coupon is valid still.

    The note's ``last_ms`` is when a coupon could last have been redeemed.
    """

    FILTERED = False

    __slots__ = ("_begins", "_redeemed_by")

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        trigger = specs[0].trigger
        assert isinstance(trigger, CouponTrigger)
        self._begins: Final = names(trigger.actions)
        self._redeemed_by: Final = names(trigger.redeemed_by)
        if self._begins is not None and self._redeemed_by is not None:
            self.actions = self._begins | self._redeemed_by

    @classmethod
    def pattern(cls, trigger: CouponTrigger) -> tuple[object, ...]:
        """What begins it, and what uses a coupon up."""
        return trigger.actions, trigger.redeemed_by

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Who has no coupon out with this customer."""
        fact, book = seen.fact, seen.customer.book
        self.on_late_fact(seen)
        if not among(fact.action, self._begins) or not self.fits(fact):
            return ()
        return [
            (spec, seen.trigger())
            for spec in self.specs
            if not resting(spec, fact.ts, book) and not self._is_out(spec, fact.ts, book)
        ]

    def on_late_fact(self, seen: Seen) -> None:
        """A purchase redeems what is out, whenever it is told."""
        fact, book = seen.fact, seen.customer.book
        if among(fact.action, self._redeemed_by) and any(
            s.id in book.last_sent for s in self.specs
        ):
            note = self.note(seen)
            note.last_ms = max(note.last_ms, fact.ts)

    def takes_back(
        self, spec: Campaign, fact: Fact, pending: Armed, customer: Customer, world: World
    ) -> bool:
        """Who has bought meanwhile needs no coupon to be won."""
        return among(fact.action, self._redeemed_by) and fact.ts >= pending.event_ms

    def _is_out(self, spec: Campaign, at_ms: int, book: Book) -> bool:
        given_ms = book.last_sent.get(spec.id)
        if given_ms is None or at_ms >= given_ms + spec.offer.valid_days * DAY_MS:
            return False
        note = book.notes.get(self.key)
        return note is None or note.last_ms < given_ms
