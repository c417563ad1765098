"""A shard's purse: the money it was lent for each campaign, channel and day, and what it spent.

Shards decide in parallel and without asking anybody, so a campaign's budget is lent out in small
sums by one keeper (`scoring.budget`): a shard spends what it holds, asks for more in time, and
gives back what it does not need. A message whose money is not at hand is not sent.

    lent (control topic, only grows) - returned - spent = free to spend

A shard spends only while all that it knows to be lent lies within the budget in force, so that a
budget that was cut holds from the moment the shard hears of it.

Spent and returned are state of the shard and go back to the checkpoint in a crash; loans are on
the control topic and stay, and so do the decisions that were published. What makes the sum right:

- each payment of an account has a number, which its decision carries: a decision that was published
  after the state was saved is paid for before anything is decided, once;
- the keeper publishes what it took back, and a shard that has forgotten giving it believes that;
- a shard that finds loans but has never had a purse has lost its state: those loans are void.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from schemas.budget import Ask, Budget, Lease, micros
from schemas.control import Campaign, Policy
from schemas.decision import Decision
from schemas.outcome import Channel
from state.accounts import (
    INDEX,
    PATIENCE_MS,
    Account,
    Name,
    account_key,
    decode_index,
    encode_index,
)
from state.days import day_bounds, day_of, newest_ended_day
from state.loans import Leases

SPENT: Final = "no_budget"
AWAITED: Final = "awaiting_budget"
"""Reasons of `schemas.reasons`: nothing is left to be lent, or it has not come yet."""

FIRST_MESSAGES: Final = 4
"""What a shard asks for before it knows its need, in messages."""
AHEAD_MS: Final = 600_000
"""How long before midnight a shard asks for the next day's first loan."""
DAYS_KEPT: Final = 2
"""For how many days after its end a day's account still takes back what failed messages cost."""
IMPATIENCE_LIMIT_MS: Final = 60_000
"""How long at most until an ask that brought nothing is repeated."""

_NEVER: Final = (0, 0)


class Paid(NamedTuple):
    """The day whose money paid for a message, and which payment from it; "" when none had to."""

    day: str
    number: int


UNMETERED: Final = Paid("", 0)


class Purse:
    """The money of one shard. Keys start with a NUL, which no customer's id can.

    Read through ``get`` and written through what `take_writes` returns, in one commit with the
    customers whose messages it paid for. ``leases`` is the subtask's, shared by its shards.

    ``published`` are decisions that the shard published lately, whether or not the state at hand
    knows of them. ``inherited`` are the loans from before this run: void if the state is new.
    ``lender`` answers asks at once, by way of ``leases``; without one they wait for `take_asks`.
    """

    def __init__(
        self,
        shard: str,
        get: Callable[[str], bytes | None],
        leases: Leases,
        published: Iterable[Decision] = (),
        inherited: Mapping[str, Lease] | None = None,
        lender: Callable[[Ask], None] | None = None,
    ) -> None:
        self._shard = shard
        self._lender = lender
        self._get = get
        self._leases = leases
        self._accounts: dict[Name, Account] = {}
        self._dirty: set[Name] = set()
        self._writes: dict[str, bytes | None] = {}
        self._asks: dict[Name, Ask] = {}
        self._tended: object = None
        self._tend_at_ms = 0
        self._recalls = leases.recalls
        data = get(INDEX)
        self._index_changed = data is None
        self._closed, self._names = ("", set()) if data is None else decode_index(data)
        if data is None:
            self._void(leases if inherited is None else inherited)
        self._pay_published(published)

    @property
    def changed(self) -> bool:
        """Whether there is anything to write or to ask."""
        return bool(self._dirty or self._writes or self._index_changed or self._asks)

    def refusal(self, spec: Campaign, channel: Channel, at_ms: int, cost: int) -> str:
        """Why a message of ``cost`` micro-units cannot be paid for now; "" if it can.

        Asks for money when there is too little.
        """
        budget = spec.budget
        if budget is None or cost <= 0 or not budget.meters(channel):
            return ""
        name = (spec.id, channel, day_of(budget.zone, at_ms))
        if name not in self._names:
            self._leave_days(at_ms)
        account = self._account(name)
        if account is None:
            return SPENT
        free = self._usable(name, account, budget)
        if free >= cost:
            return ""
        account.unmet += cost
        self._ask(name, account, free, cost, at_ms, spec, budget)
        if self._lender is not None and self._usable(name, account, budget) >= cost:
            return ""
        room = self._leases.standing(spec.id).room(budget, channel, name[2], at_ms)
        return AWAITED if room is None or room >= cost else SPENT

    def reserve(self, spec: Campaign, channel: Channel, at_ms: int, cost: int) -> Paid | None:
        """Pay ``cost`` micro-units for a message decided at ``at_ms``; None if it cannot be paid.

        What it returns is to be kept until the message's fate is known: the day is handed to
        `release` if it was not sent, and nothing is to be done when it was.
        """
        if self.refusal(spec, channel, at_ms, cost):
            return None
        budget = spec.budget
        if budget is None or cost <= 0 or not budget.meters(channel):
            return UNMETERED
        name = (spec.id, channel, day_of(budget.zone, at_ms))
        account = self._accounts[name]
        account.spent += cost
        account.recent += cost
        account.payments += 1
        self._dirty.add(name)
        free = self._usable(name, account, budget)
        self._ask(name, account, free, cost, at_ms, spec, budget)
        return Paid(name[2], account.payments)

    def release(self, campaign_id: str, channel: Channel, day: str, cost: int) -> None:
        """Put back what `reserve` took from ``day``: the message was not sent."""
        if not day:
            return
        name = (campaign_id, channel, day)
        account = self._account(name)
        if account is not None:  # else the day's books are closed, and what it cost stays spent
            account.spent -= cost
            self._dirty.add(name)

    def tend(self, now_ms: int, metered: tuple[Campaign, ...], policy: Policy) -> None:
        """Once a batch: ask for a new campaign's or day's first loan, give back what is not needed.

        ``metered`` are the campaigns in force that have a budget; ``now_ms`` is the shard's clock.
        """
        if not now_ms:
            return  # no event has come yet, so nobody knows what day it is
        if self._recalls != self._leases.recalls:
            self._recalls = self._leases.recalls
            self._answer_recalls(now_ms, {spec.id: spec.budget for spec in metered})
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
                        free = self._usable(name, account, budget)
                        self._ask(name, account, free, cost, now_ms, spec, budget)

    def take_asks(self) -> Iterable[Ask]:
        """What to tell the keepers of the budgets."""
        asks, self._asks = self._asks, {}
        return asks.values()

    def take_writes(self) -> dict[str, bytes | None]:
        """What must be written for the purse to survive; None deletes the key."""
        for name in self._dirty:
            account = self._accounts[name]
            self._writes[account_key(name)] = account.encode()
        self._dirty.clear()
        if self._index_changed:
            self._writes[INDEX] = encode_index(self._closed, self._names)
            self._index_changed = False
        writes, self._writes = self._writes, {}
        return writes

    def _account(self, name: Name) -> Account | None:
        """The account of this name, opened if need be; None when its day is closed for good."""
        account = self._accounts.get(name)
        if account is not None:
            return account
        if name[2] <= self._closed:
            return None
        if name in self._names:
            account = Account.decode(self._get(account_key(name)))
        else:
            account = Account()
            self._names.add(name)
            self._dirty.add(name)  # what the index names must be there to be read
            self._index_changed = True
        account.recall_ms = self._leases.loans(name[0], name[1]).recall_ms
        self._accounts[name] = account
        return account

    def _free(self, name: Name, account: Account) -> int:
        loans = self._leases.loans(name[0], name[1])
        lent, taken = loans.days.get(name[2], {}).get(self._shard, _NEVER)
        if taken > account.returned:  # given back before a crash that made us forget it
            account.returned = taken
            self._dirty.add(name)
        if lent > account.lent:
            account.lent = lent
            account.unmet = 0
            account.patience_ms, account.ask_again_ms = PATIENCE_MS, 0
        return lent - account.returned - account.spent

    def _usable(self, name: Name, account: Account, budget: Budget) -> int:
        """What is free, and nothing while more is lent than the budget holds."""
        free = self._free(name, account)
        within = self._leases.standing(name[0]).within(budget, name[1], name[2])
        return free if within else min(free, 0)

    def _ask(
        self,
        name: Name,
        account: Account,
        free: int,
        cost: int,
        at_ms: int,
        spec: Campaign,
        budget: Budget,
    ) -> None:
        """Ask for more when little is left: for a quarter of what the day took so far, or more."""
        step = max(FIRST_MESSAGES * cost, account.spent // 4, account.unmet)
        if spec.updated_ms != account.asked_for_ms:  # the keeper may not know of this budget yet
            account.asked_for_ms = spec.updated_ms
            account.patience_ms, account.ask_again_ms = PATIENCE_MS, 0
        if free >= max(cost, step // 2) or at_ms < account.ask_again_ms:
            return
        account.ask_again_ms = at_ms + account.patience_ms
        account.patience_ms = min(2 * account.patience_ms, IMPATIENCE_LIMIT_MS)
        wanted = account.spent + account.returned + step
        self._tell(name, account, wanted, cost, at_ms, budget, spec.updated_ms)

    def _tell(
        self,
        name: Name,
        account: Account,
        wanted: int,
        unit: int,
        at_ms: int,
        budget: Budget | None = None,
        budget_ms: int = 0,
    ) -> None:
        campaign, channel, day = name
        ask = Ask(
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
        if self._lender is None:
            self._asks[name] = ask
        else:
            self._lender(ask)

    def _give_back(self, name: Name, account: Account, keep: int, now_ms: int) -> None:
        surplus = self._free(name, account) - keep
        if surplus > 0:
            account.returned += surplus
            self._dirty.add(name)
            self._tell(name, account, 0, 0, now_ms)

    def _answer_recalls(self, now_ms: int, budgets: Mapping[str, Budget | None]) -> None:
        """Give back what was lent beyond the need since the last recall."""
        for name in self._names:
            recall_ms = self._leases.loans(name[0], name[1]).recall_ms
            account = self._account(name)
            if account is not None and recall_ms > account.recall_ms:
                budget = budgets.get(name[0])
                standing = self._leases.standing(name[0])
                needed = budget is not None and standing.within(budget, name[1], name[2])
                self._give_back(name, account, account.recent if needed else 0, now_ms)
                account.recall_ms, account.recent = recall_ms, 0

    def _leave_days(self, at_ms: int) -> None:
        """Give back what the days that have ended by then left."""
        ended = newest_ended_day(at_ms)
        for name in self._names:
            if name[2] <= ended and (account := self._account(name)) is not None:
                self._give_back(name, account, 0, at_ms)

    def _close_days(self, now_ms: int) -> None:
        """Give back what ended days left; forget days whose messages' fates are known by now."""
        self._leave_days(now_ms)
        closed = newest_ended_day(now_ms, days_ago=DAYS_KEPT)
        for name in [name for name in self._names if name[2] <= closed]:
            self._names.discard(name)
            self._accounts.pop(name, None)
            self._dirty.discard(name)
            self._writes[account_key(name)] = None
        if closed > self._closed:
            self._closed = closed
            self._index_changed = True

    def _void(self, inherited: Mapping[str, Lease]) -> None:
        """Count as spent whatever was lent to this shard when it still had its state."""
        for campaign, lease in inherited.items():
            for channel, loans in lease.channels.items():
                for day, lent in loans.days.items():
                    granted, taken = lent.get(self._shard, _NEVER)
                    if granted:
                        name = (campaign, channel, day)
                        self._accounts[name] = Account(granted - taken, taken)
                        self._names.add(name)
                        self._dirty.add(name)

    def _pay_published(self, published: Iterable[Decision]) -> None:
        """Pay for what was published after the state was saved; it is gone, whatever comes now."""
        newest: dict[Name, int] = {}
        for decision in published:
            name = _name_of(decision)
            account = None if name is None else self._account(name)
            if name is None or account is None or decision.paid_number <= account.payments:
                continue
            account.spent += decision.cost_micros
            newest[name] = max(newest.get(name, 0), decision.paid_number)
            self._dirty.add(name)
        for name, number in newest.items():
            self._accounts[name].payments = number


def _name_of(decision: Decision) -> Name | None:
    """The account that paid for a decision; None if it cost no budget anything."""
    if decision.status != "send" or not decision.paid_day:
        return None
    return decision.campaign_id, decision.channel, decision.paid_day
