"""What the shards were lent of the campaigns' budgets, as the control topic tells it."""

from __future__ import annotations

from typing import Final

from schemas.budget import Budget, Lease, Loans, micros
from schemas.outcome import Channel
from state.days import day_bounds

HEAD_START_MS: Final = 1_800_000
"""How far an evenly paced day is ahead of the clock: the first shoppers find money at midnight."""

_NO_LOANS: Final = Loans()
_NEVER: Final = (0, 0)


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


class Standing:
    """What of one budget is lent and not taken back: in all and on each day, by channel."""

    __slots__ = ("_days", "_totals")

    def __init__(self, lease: Lease | None) -> None:
        self._totals: dict[str, int] = {}
        self._days: dict[str, dict[str, int]] = {}
        if lease is None:
            return
        for channel, loans in lease.channels.items():
            self._totals[channel] = loans.past
            for day, lent in loans.days.items():
                self.add(channel, day, sum(granted - taken for granted, taken in lent.values()))

    def add(self, channel: str, day: str, amount: int) -> None:
        """Note a loan, or what was taken back as a negative amount."""
        self._totals[channel] = self._totals.get(channel, 0) + amount
        of_day = self._days.setdefault(day, {})
        of_day[channel] = of_day.get(channel, 0) + amount

    def close(self, channel: str, day: str) -> int:
        """Forget a day, whose money stays in the total; returns how much that is."""
        return self._days.get(day, {}).pop(channel, 0)

    def is_out(self, channel: str) -> bool:
        """Whether shards may have anything of the channel's left."""
        return any(of_day.get(channel) for of_day in self._days.values())

    def room(
        self, budget: Budget, channel: Channel, day: str, at_ms: int | None = None
    ) -> int | None:
        """What may be lent besides, by ``at_ms`` of an evenly paced day, else by its end.

        None is any amount; it is negative when the budget was cut after more had been lent.
        """
        whole, own = budget.limits(channel)
        totals, of_day = self._totals, self._days.get(day, {})
        rooms = []
        if whole.total is not None:
            rooms.append(micros(whole.total) - sum(totals.values()))
        if whole.per_day is not None:
            rooms.append(_opened(budget, whole.per_day, day, at_ms) - sum(of_day.values()))
        if own.total is not None:
            rooms.append(micros(own.total) - totals.get(channel, 0))
        if own.per_day is not None:
            rooms.append(_opened(budget, own.per_day, day, at_ms) - of_day.get(channel, 0))
        return min(rooms, default=None)

    def within(self, budget: Budget, channel: Channel, day: str) -> bool:
        """Whether no more is lent than the budget holds."""
        room = self.room(budget, channel, day)
        return room is None or room >= 0


def _opened(budget: Budget, per_day: float, day: str, at_ms: int | None) -> int:
    """How much of a day's limit may be out at a moment."""
    limit = micros(per_day)
    if at_ms is None or budget.pace == "none":
        return limit
    start, end = day_bounds(budget.zone, day)
    passed = min(end - start, max(0, at_ms - start + HEAD_START_MS))
    return limit * passed // (end - start)


class Leases(dict[str, Lease]):
    """All loans that a subtask has heard of, by campaign; ``recalls`` counts requests to return."""

    def __init__(self) -> None:
        super().__init__()
        self.recalls = 0
        self._standings: dict[str, tuple[Lease | None, Standing]] = {}

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
        return _NO_LOANS if lease is None else lease.channels.get(channel, _NO_LOANS)

    def standing(self, campaign_id: str) -> Standing:
        """What is lent of a campaign's budget, as far as this subtask has heard."""
        lease = self.get(campaign_id)
        found = self._standings.get(campaign_id)
        if found is None or found[0] is not lease:
            found = self._standings[campaign_id] = (lease, Standing(lease))
        return found[1]
