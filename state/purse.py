"""A shard's purse: the money it was lent for each campaign, channel and day, and what it spent.

Shards decide in parallel and without asking anybody, so a campaign's budget is lent out in small
sums by one keeper (`scoring.budget`): a shard spends what it holds, asks for more in time, and
gives back what it does not need. A message whose money is not at hand is not sent.

    lent (control topic, only grows) - returned - spent - pledged = free to spend

Spent and returned are state of the shard and go back to the checkpoint in a crash; loans are on
the control topic and stay. What makes the sum right again:

- decisions published since the checkpoint get a `Purse.pledge` before anything is decided: nobody
  else spends their money before they are made again;
- the keeper publishes what it took back, and a shard that has forgotten giving it believes that;
- a shard that finds loans but has never had a purse has lost its state: those loans are void.

Layout, little-endian: magic ``BKP``, version ``u8``, spent and returned ``i64`` for an account; the
index has the same head before MessagePack.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from schemas.budget import Ask, Budget, Lease, Loans, micros
from schemas.control import Campaign, Policy
from schemas.decision import Decision
from schemas.outcome import Channel
from state.days import day_bounds, day_of, newest_ended_day
from state.profile import CorruptState

VERSION: Final = 1
UNMETERED: Final = "-"
"""The day of a charge that no budget binds."""

FIRST_MESSAGES: Final = 4
"""What a shard asks for before it knows its need, in messages."""
AHEAD_MS: Final = 600_000
"""How long before midnight a shard asks for the next day's first loan."""
DAYS_KEPT: Final = 2
"""For how many days after its end a day's account still takes back what failed messages cost."""
PATIENCE_MS: Final = 5_000
IMPATIENCE_LIMIT_MS: Final = 60_000
"""An ask that brought nothing is repeated after the one, then ever later up to the other."""

_MAGIC: Final = b"BKP"
_INDEX: Final = "\x00purse"
_ACCOUNT: Final = struct.Struct("<3sBqq")
_HEAD: Final = struct.Struct("<3sB")
_NOTHING: Final = Loans()
_NEVER: Final = (0, 0)

_Name = tuple[str, Channel, str]
"""Campaign, channel, day."""


def merged(one: Lease | None, other: Lease) -> Lease:
    """Two records of a campaign's loans as one: of each amount the greater."""
    if one is None:
        return other
    channels = dict(one.channels)
    for channel, loans in other.channels.items():
        known = channels.get(channel)
        channels[channel] = loans if known is None else _merged_loans(known, loans)
    return Lease(one.campaign_id, channels, max(one.updated_ms, other.updated_ms))


def _merged_loans(one: Loans, other: Loans) -> Loans:
    newer = max(one, other, key=lambda loans: (loans.past_day, loans.past))
    days: dict[str, dict[str, tuple[int, int]]] = {}
    for loans in (one, other):
        for day, lent in loans.days.items():
            if day <= newer.past_day:
                continue
            into = days.setdefault(day, {})
            for shard, (granted, taken) in lent.items():
                before = into.get(shard, _NEVER)
                into[shard] = (max(before[0], granted), max(before[1], taken))
    return Loans(days, newer.past, newer.past_day, max(one.recall_ms, other.recall_ms))


class Leases(dict[str, Lease]):
    """All loans that a subtask has heard of, by campaign; ``recalls`` counts requests to return."""

    recalls = 0

    def accept(self, lease: Lease) -> None:
        """Merge a record into what is known."""
        known = self.get(lease.campaign_id)
        now = self[lease.campaign_id] = merged(known, lease)
        if known is not None and any(
            channel in known.channels and loans.recall_ms > known.channels[channel].recall_ms
            for channel, loans in now.channels.items()
        ):
            self.recalls += 1

    def loans(self, campaign_id: str, channel: Channel) -> Loans:
        """One channel's loans."""
        lease = self.get(campaign_id)
        return _NOTHING if lease is None else lease.channels.get(channel, _NOTHING)


class _Account:
    """What one shard did with its loan of one campaign, channel and day."""

    __slots__ = (
        "ask_again_ms", "lent", "patience_ms", "pledged",
        "recall_ms", "recent", "returned", "spent",
    )  # fmt: skip

    def __init__(self, spent: int = 0, returned: int = 0) -> None:
        self.spent = spent
        self.returned = returned
        self.pledged = 0
        # Not saved: what it takes to ask neither too often nor for too much.
        self.lent = 0
        self.recent = 0
        self.recall_ms = 0
        self.ask_again_ms = 0
        self.patience_ms = PATIENCE_MS


class Purse:
    """The money of one shard. Keys start with a NUL, which no customer's id can.

    Read through ``get`` and written through what `take_writes` returns, in one commit with the
    customers whose messages it paid for. ``leases`` is the subtask's, shared by its shards.
    """

    def __init__(self, shard: str, get: Callable[[str], bytes | None], leases: Leases) -> None:
        self._shard = shard
        self._get = get
        self._leases = leases
        self._accounts: dict[_Name, _Account] = {}
        self._pledges: dict[str, tuple[_Name, int]] = {}
        self._dirty: set[_Name] = set()
        self._writes: dict[str, bytes | None] = {}
        self._asks: dict[_Name, Ask] = {}
        self._tended: object = None
        self._tend_at_ms = 0
        self._recalls = leases.recalls
        data = get(_INDEX)
        self._index_changed = data is None
        self._closed, self._names = ("", set()) if data is None else _decode_index(data)
        if data is None:
            self._void_loans()

    def covers(self, spec: Campaign, channel: Channel, at_ms: int, cost: int) -> bool:
        """Whether `reserve` would find the money; asks for it when not."""
        budget = spec.budget
        if budget is None or cost <= 0 or not budget.meters(channel):
            return True
        name = (spec.id, channel, day_of(budget.zone, at_ms))
        account = self._account(name)
        if account is None:
            return False
        free = self._free(name, account)
        if free < cost:
            self._ask(name, account, free, cost, at_ms, spec, budget)
            return False
        return True

    def reserve(self, spec: Campaign, channel: Channel, at_ms: int, cost: int) -> str:
        """Pay ``cost`` micro-units for a message decided at ``at_ms``; all or nothing.

        Returns the day whose money it is, to be kept until the message's fate is known and handed
        to `release` if it was not sent (nothing is to be done when it was); `UNMETERED` if no
        budget binds it; "" if the money is not at hand.
        """
        budget = spec.budget
        if budget is None or cost <= 0 or not budget.meters(channel):
            return UNMETERED
        name = (spec.id, channel, day_of(budget.zone, at_ms))
        account = self._account(name)
        if account is None:
            return ""
        free = self._free(name, account)
        if free >= cost:
            account.spent += cost
            account.recent += cost
            self._dirty.add(name)
            self._ask(name, account, free - cost, cost, at_ms, spec, budget)
            return name[2]
        self._ask(name, account, free, cost, at_ms, spec, budget)
        return ""

    def release(self, campaign_id: str, channel: Channel, day: str, cost: int) -> None:
        """Put back what `reserve` took from ``day``: the message was not sent."""
        if day in ("", UNMETERED):
            return
        name = (campaign_id, channel, day)
        account = self._account(name)
        if account is not None:  # else the day's books are closed, and what it cost stays spent
            account.spent -= cost
            self._dirty.add(name)

    def pledge(self, decision: Decision) -> None:
        """Keep money for a decision that was published but is to be made again."""
        name = _name_of(decision)
        if name is None or decision.decision_id in self._pledges:
            return
        account = self._account(name)
        if account is not None:
            account.pledged += decision.cost_micros
            self._pledges[decision.decision_id] = (name, decision.cost_micros)

    def redeem(self, decision: Decision) -> None:
        """Pay for a decision that is made again as it was published: its money is gone already."""
        name = _name_of(decision)
        if name is None:
            return
        pledged = self._pledges.pop(decision.decision_id, None)
        account = self._account(name)
        if account is not None:
            if pledged is not None:
                account.pledged -= pledged[1]
            account.spent += decision.cost_micros
            self._dirty.add(name)

    def tend(self, now_ms: int, metered: tuple[Campaign, ...], policy: Policy) -> None:
        """Once a batch: ask for a new campaign's or day's first loan, give back what is not needed.

        ``metered`` are the campaigns in force that have a budget; ``now_ms`` is the shard's clock.
        """
        if not now_ms:
            return  # no event has come yet, so nobody knows what day it is
        if self._recalls != self._leases.recalls:
            self._recalls = self._leases.recalls
            self._answer_recalls(now_ms)
        if metered is self._tended and now_ms < self._tend_at_ms:
            return
        self._tended = metered
        self._close_days(now_ms)
        self._tend_at_ms = now_ms + 3_600_000
        for spec in metered:
            budget = spec.budget
            assert budget is not None
            today = day_of(budget.zone, now_ms + AHEAD_MS)
            self._tend_at_ms = min(self._tend_at_ms, day_bounds(budget.zone, today)[1] - AHEAD_MS)
            for channel in spec.channels:
                cost = micros(policy.channel_cost.get(channel, 0.0))
                if cost and budget.meters(channel) and (spec.id, channel, today) not in self._names:
                    name = (spec.id, channel, today)
                    account = self._account(name)
                    if account is not None:
                        free = self._free(name, account)
                        self._ask(name, account, free, cost, now_ms, spec, budget)

    def take_asks(self) -> Iterable[Ask]:
        """What to tell the keepers of the budgets."""
        asks, self._asks = self._asks, {}
        return asks.values()

    def take_writes(self) -> dict[str, bytes | None]:
        """What must be written for the purse to survive; None deletes the key."""
        for name in self._dirty:
            account = self._accounts[name]
            self._writes[_key(name)] = _ACCOUNT.pack(
                _MAGIC, VERSION, account.spent, account.returned
            )
        self._dirty.clear()
        if self._index_changed:
            index = (self._closed, sorted(self._names))
            self._writes[_INDEX] = _HEAD.pack(_MAGIC, VERSION) + msgspec.msgpack.encode(index)
            self._index_changed = False
        writes, self._writes = self._writes, {}
        return writes

    def _account(self, name: _Name) -> _Account | None:
        """The account of this name, opened if need be; None when its day is closed for good."""
        account = self._accounts.get(name)
        if account is not None:
            return account
        if name[2] <= self._closed:
            return None
        if name in self._names:
            account = _decode_account(self._get(_key(name)))
        else:
            account = _Account()
            self._names.add(name)
            self._dirty.add(name)  # what the index names must be there to be read
            self._index_changed = True
        account.recall_ms = self._leases.loans(name[0], name[1]).recall_ms
        self._accounts[name] = account
        return account

    def _free(self, name: _Name, account: _Account) -> int:
        loans = self._leases.loans(name[0], name[1])
        lent, taken = loans.days.get(name[2], {}).get(self._shard, _NEVER)
        if taken > account.returned:  # given back before a crash that made us forget it
            account.returned = taken
            self._dirty.add(name)
        if lent > account.lent:
            account.lent = lent
            account.patience_ms, account.ask_again_ms = PATIENCE_MS, 0
        return lent - account.returned - account.spent - account.pledged

    def _ask(
        self,
        name: _Name,
        account: _Account,
        free: int,
        cost: int,
        at_ms: int,
        spec: Campaign,
        budget: Budget,
    ) -> None:
        """Ask for more when little is left: for a quarter of what the day took so far."""
        step = max(FIRST_MESSAGES * cost, account.spent // 4)
        if free >= max(cost, step // 2) or at_ms < account.ask_again_ms:
            return
        account.ask_again_ms = at_ms + account.patience_ms
        account.patience_ms = min(2 * account.patience_ms, IMPATIENCE_LIMIT_MS)
        wanted = account.spent + account.pledged + account.returned + step
        self._tell(name, account, wanted, cost, at_ms, budget, spec.updated_ms)

    def _tell(
        self,
        name: _Name,
        account: _Account,
        wanted: int,
        unit: int,
        at_ms: int,
        budget: Budget | None = None,
        budget_ms: int = 0,
    ) -> None:
        campaign, channel, day = name
        self._asks[name] = Ask(
            campaign_id=campaign,
            channel=channel,
            day=day,
            shard=self._shard,
            wanted=wanted,
            returned=account.returned,
            held=account.lent,
            unit=unit,
            at_ms=at_ms,
            budget=budget,
            budget_ms=budget_ms,
        )

    def _give_back(self, name: _Name, account: _Account, keep: int, now_ms: int) -> None:
        surplus = self._free(name, account) - keep
        if surplus > 0:
            account.returned += surplus
            self._dirty.add(name)
            self._tell(name, account, 0, 0, now_ms)

    def _answer_recalls(self, now_ms: int) -> None:
        """Give back what was lent beyond the need since the last recall."""
        for name in self._names:
            recall_ms = self._leases.loans(name[0], name[1]).recall_ms
            account = self._account(name)
            if account is not None and recall_ms > account.recall_ms:
                self._give_back(name, account, account.recent, now_ms)
                account.recall_ms, account.recent = recall_ms, 0

    def _close_days(self, now_ms: int) -> None:
        """Give back what ended days left; forget days whose messages' fates are known by now."""
        ended, closed = newest_ended_day(now_ms), newest_ended_day(now_ms, days_ago=DAYS_KEPT)
        for name in [name for name in self._names if name[2] <= ended]:
            account = self._account(name)
            if account is not None:
                self._give_back(name, account, 0, now_ms)
            if name[2] <= closed:
                self._names.discard(name)
                self._accounts.pop(name, None)
                self._dirty.discard(name)
                self._writes[_key(name)] = None
        if closed > self._closed:
            self._closed = closed
            self._index_changed = True

    def _void_loans(self) -> None:
        for campaign, lease in self._leases.items():
            for channel, loans in lease.channels.items():
                for day, lent in loans.days.items():
                    granted, taken = lent.get(self._shard, _NEVER)
                    if granted:
                        name = (campaign, channel, day)
                        self._accounts[name] = _Account(granted - taken, taken)
                        self._names.add(name)
                        self._dirty.add(name)


class OpenPurse(Purse):
    """A purse that always has money, for a look at a decision that nobody will be sent."""

    def __init__(self) -> None:
        super().__init__("", lambda _: None, Leases())

    def covers(self, spec: Campaign, channel: Channel, at_ms: int, cost: int) -> bool:
        """Always."""
        return True

    def reserve(self, spec: Campaign, channel: Channel, at_ms: int, cost: int) -> str:
        """Pays for anything and keeps no account."""
        return UNMETERED


def _name_of(decision: Decision) -> _Name | None:
    """The account that paid for a decision; None if it cost no budget anything."""
    if decision.status != "send" or decision.paid_day in ("", UNMETERED):
        return None
    return decision.campaign_id, decision.channel, decision.paid_day


def _key(name: _Name) -> str:
    return "/".join((_INDEX, *name))


def _decode_account(data: bytes | None) -> _Account:
    if data is None or len(data) != _ACCOUNT.size:
        raise CorruptState(f"a purse's account of {0 if data is None else len(data)} bytes")
    magic, version, spent, returned = _ACCOUNT.unpack(data)
    _check_head(magic, version)
    return _Account(spent, returned)


def _decode_index(data: bytes) -> tuple[str, set[_Name]]:
    if len(data) < _HEAD.size:
        raise CorruptState(f"a purse's index of {len(data)} bytes")
    _check_head(*_HEAD.unpack_from(data))
    try:
        closed, names = _read_index(data[_HEAD.size :])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptState(f"a purse's index does not decode: {error}") from error
    return closed, set(names)


def _check_head(magic: bytes, version: int) -> None:
    if magic != _MAGIC or version != VERSION:
        raise CorruptState(
            f"a purse starts with {magic!r}, version {version}; this release reads {VERSION}"
        )


_read_index: Final = msgspec.msgpack.Decoder(tuple[str, list[_Name]]).decode
