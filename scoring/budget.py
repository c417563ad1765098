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
from msgspec import Struct

from schemas.budget import Ask, Budget, Lease, Loans
from schemas.outcome import Channel
from state.days import newest_ended_day
from state.loans import Leases, Standing, merged
from state.profile import CorruptState

VERSION: Final = 1
DAYS_OPEN: Final = 7
"""For how many days after its end a day's unspent loans can still be given back."""
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
    """One channel's loans while asks are answered."""

    days: dict[str, dict[str, tuple[int, int]]]
    past: int
    past_day: str
    recall_ms: int


def answer(ledger: Ledger, asks: Iterable[Ask]) -> Lease | None:
    """Take back and lend what was asked; returns the loans to publish, None if nothing is new."""
    return _Answer(ledger).run(sorted(asks, key=lambda ask: (ask.at_ms, ask.shard)))


class Keeper:
    """Lends at once, to shards that share its ``leases``: where all of a stream is one process."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._ledgers: dict[str, Ledger] = {}

    def __call__(self, ask: Ask) -> None:
        """Answer an ask."""
        campaign = ask.campaign_id
        ledger = self._ledgers.get(campaign)
        if ledger is None:
            lease = self._leases.get(campaign, Lease(campaign))
            ledger = self._ledgers[campaign] = Ledger(lease)
        news = answer(ledger, [ask])
        if news is not None:
            self._leases.accept(news)


class _Answer:
    """The asks of one campaign that came together."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.standing = Standing(ledger.lease)
        self.books: dict[Channel, _Book] = {}
        for channel, loans in ledger.lease.channels.items():
            days = {day: dict(lent) for day, lent in loans.days.items()}
            self.books[channel] = _Book(days, loans.past, loans.past_day, loans.recall_ms)
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
            self.standing.add(ask.channel, ask.day, -back)
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
        room = self.standing.room(self.ledger.budget, ask.channel, ask.day, ask.at_ms)
        if room is not None:
            shards = max(len(book.days.get(ask.day, ())), asking)
            loan = min(loan, room, max(unit, room // (2 * shards))) // unit * unit
        if loan <= 0:
            return False
        book.days.setdefault(ask.day, {})[ask.shard] = (lent + loan, taken)
        self.standing.add(ask.channel, ask.day, loan)
        self.news = True
        return True

    def _overlent(self) -> bool:
        """Whether more is out than a budget holds that somebody has cut since."""
        budget = self.ledger.budget
        if budget is None:
            return False
        ended = newest_ended_day(self.ledger.newest_ms)
        return any(
            not self.standing.within(budget, channel, day)
            for channel, book in self.books.items()
            for day in book.days
            if day > ended
        )

    def _recall(self) -> None:
        now_ms = self.ledger.newest_ms
        for channel, book in self.books.items():
            if now_ms >= book.recall_ms + RECALL_MS and self.standing.is_out(channel):
                book.recall_ms = now_ms
                self.news = True

    def _fold_days(self) -> None:
        """What is out of a day long ended is spent for good, once its shards have gone on.

        A shard whose clock stands in that day, while another's is at a later one, has its unspent
        loan still to give back. It does so before it asks for a later day.
        """
        closed = newest_ended_day(self.ledger.newest_ms, DAYS_OPEN)
        for channel, book in self.books.items():
            gone_on: set[str] = set()
            folded = []
            for day in sorted(book.days, reverse=True):
                out = {shard for shard, (lent, taken) in book.days[day].items() if lent > taken}
                if day <= closed and out <= gone_on:
                    folded.append(day)
                gone_on |= book.days[day].keys()
            for day in folded:
                book.past += self.standing.close(channel, day)
                del book.days[day]
                book.past_day = max(book.past_day, day)
                self.news = True

    def _book(self, channel: Channel) -> _Book:
        book = self.books.get(channel)
        if book is None:
            book = self.books[channel] = _Book({}, 0, "", 0)
        return book
