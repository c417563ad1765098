"""The keeper of a campaign's budget: lends it to the shards, little by little, never twice.

Shards spend only what they were lent (`state.purse`), so no more is spent than was lent, and no
more is lent than the budget holds: in all and on the day, over all channels and for each, and of
an evenly paced day no more than the part of it that has passed. What comes back is lent again.

The keeper's own state goes back to the checkpoint in a crash, while the loans it made since are
published and stay. So whoever takes up its state must first `Ledger.learn` what was published.
Amounts are absolute and only grow; an ask that comes twice, late or never, does no harm.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct, field

from schemas.budget import Ask, Budget, Lease, Loans, micros
from schemas.outcome import Channel
from state.days import day_bounds, newest_ended_day
from state.profile import CorruptState
from state.purse import DAYS_KEPT, merged

VERSION: Final = 1
HEAD_START_MS: Final = 1_800_000
"""How far an evenly paced day is ahead of the clock: the first shoppers find money at midnight."""
RECALL_MS: Final = 60_000
"""How often shards are asked for what they do not need, while another finds nothing left."""

_MAGIC: Final = b"BKK"
_HEAD: Final = struct.Struct("<3sB")
_NEVER: Final = (0, 0)


class Ledger(Struct, array_like=True):
    """What the keeper of one campaign's budget knows; `decode` reads what `encode` wrote."""

    lease: Lease
    budget: Budget | None = None
    budget_ms: int = -1
    newest_ms: int = 0

    def learn(self, published: Lease) -> None:
        """Take in loans that were published, whether or not we remember making them."""
        self.lease = merged(self.lease, published)

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        return _HEAD.pack(_MAGIC, VERSION) + _encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Ledger:
        """Read a ledger.

        Raises:
            CorruptState: these are no bytes of a ledger, or of an unknown version.
        """
        if data[: _HEAD.size] != _HEAD.pack(_MAGIC, VERSION):
            raise CorruptState(
                f"a budget's ledger starts with {data[:4]!r}; this release reads version {VERSION}"
            )
        try:
            return _decode(data[_HEAD.size :])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CorruptState(f"a budget's ledger does not decode: {error}") from error


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Ledger).decode


class _Book(Struct):
    """One channel's loans while asks are answered; ``out`` is lent less taken back, by day."""

    days: dict[str, dict[str, tuple[int, int]]]
    past: int
    past_day: str
    recall_ms: int
    out: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.past + sum(self.out.values())


def answer(ledger: Ledger, asks: Iterable[Ask]) -> Lease | None:
    """Take back and lend what was asked; returns the loans to publish, None if nothing is new."""
    return _Answer(ledger).run(sorted(asks, key=lambda ask: (ask.at_ms, ask.shard)))


class _Answer:
    """The asks of one campaign that came together."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.books: dict[Channel, _Book] = {}
        for channel, loans in ledger.lease.channels.items():
            days = {day: dict(lent) for day, lent in loans.days.items()}
            out = {day: _outstanding(lent) for day, lent in days.items()}
            self.books[channel] = _Book(days, loans.past, loans.past_day, loans.recall_ms, out)
        self.news = False

    def run(self, asks: list[Ask]) -> Lease | None:
        ledger = self.ledger
        for ask in asks:
            self._note(ask)
        self._fold_days()
        starving = False
        for ask in asks:
            starving |= not self._lend(ask, len(asks))
        if starving or self._overlent():
            self._recall()
        if not self.news:
            return None
        channels = {
            channel: Loans(book.days, book.past, book.past_day, book.recall_ms)
            for channel, book in self.books.items()
        }
        ledger.lease = Lease(ledger.lease.campaign_id, channels, ledger.newest_ms)
        return ledger.lease

    def _note(self, ask: Ask) -> None:
        """Keep the budget, and what came back."""
        ledger = self.ledger
        ledger.newest_ms = max(ledger.newest_ms, ask.at_ms)
        if ask.budget is not None and ask.budget_ms >= ledger.budget_ms:
            ledger.budget, ledger.budget_ms = ask.budget, ask.budget_ms
        book = self._book(ask.channel)
        lent, taken = book.days.get(ask.day, {}).get(ask.shard, _NEVER)
        back = min(lent, ask.returned) - taken
        if back > 0:
            book.days[ask.day][ask.shard] = (lent, taken + back)
            book.out[ask.day] -= back
            self.news = True
        if ask.held < lent:
            self.news = True  # a loan that did not reach the shard, or has not yet

    def _lend(self, ask: Ask, asking: int) -> bool:
        """Lend what there is room for; False when a wish found nothing."""
        book = self._book(ask.channel)
        lent, taken = book.days.get(ask.day, {}).get(ask.shard, _NEVER)
        need = ask.wanted - lent
        if need <= 0 or ask.day <= book.past_day or self.ledger.budget is None:
            return True
        unit = max(1, ask.unit)
        loan = -(-need // unit) * unit
        room = self._room(self.ledger.budget, ask)
        if room is not None:
            shards = max(len(book.days.get(ask.day, ())), asking)
            loan = min(loan, room, max(unit, room // (2 * shards))) // unit * unit
        if loan <= 0:
            return False
        book.days.setdefault(ask.day, {})[ask.shard] = (lent + loan, taken)
        book.out[ask.day] = book.out.get(ask.day, 0) + loan
        self.news = True
        return True

    def _room(self, budget: Budget, ask: Ask) -> int | None:
        """What may still be lent for the channel and day; None is any amount."""
        day, book = ask.day, self._book(ask.channel)
        whole, own = budget.limits(ask.channel)
        books = self.books.values()
        rooms = []
        if whole.total is not None:
            rooms.append(micros(whole.total) - sum(each.total for each in books))
        if whole.per_day is not None:
            used = sum(each.out.get(day, 0) for each in books)
            rooms.append(_opened(budget, micros(whole.per_day), day, ask.at_ms) - used)
        if own.total is not None:
            rooms.append(micros(own.total) - book.total)
        if own.per_day is not None:
            used = book.out.get(day, 0)
            rooms.append(_opened(budget, micros(own.per_day), day, ask.at_ms) - used)
        return min(rooms, default=None)

    def _overlent(self) -> bool:
        """Whether more is out than the budget, which somebody has cut since, holds in all."""
        budget = self.ledger.budget
        if budget is None:
            return False
        everything = sum(book.total for book in self.books.values())
        return (budget.total is not None and everything > micros(budget.total)) or any(
            limit.total is not None and self._book(channel).total > micros(limit.total)
            for channel, limit in budget.channels.items()
        )

    def _recall(self) -> None:
        now_ms = self.ledger.newest_ms
        for book in self.books.values():
            if now_ms >= book.recall_ms + RECALL_MS and any(book.out.values()):
                book.recall_ms = now_ms
                self.news = True

    def _fold_days(self) -> None:
        """What is out of a day whose accounts the shards have closed is spent for good."""
        closed = newest_ended_day(self.ledger.newest_ms, DAYS_KEPT)
        for book in self.books.values():
            for day in [day for day in book.days if day <= closed]:
                book.past += book.out.pop(day, 0)
                del book.days[day]
                book.past_day = max(book.past_day, day)
                self.news = True

    def _book(self, channel: Channel) -> _Book:
        book = self.books.get(channel)
        if book is None:
            book = self.books[channel] = _Book({}, 0, "", 0)
        return book


def _outstanding(lent: dict[str, tuple[int, int]]) -> int:
    return sum(granted - taken for granted, taken in lent.values())


def _opened(budget: Budget, limit: int, day: str, at_ms: int) -> int:
    """How much of a day's limit may be out at a moment."""
    if budget.pace == "none":
        return limit
    start, end = day_bounds(budget.zone, day)
    passed = min(end - start, max(0, at_ms - start + HEAD_START_MS))
    return limit * passed // (end - start)
