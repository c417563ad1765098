"""Whatever parallel shards, lost and repeated loans do, no more is spent than the budget holds."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.budget import Allowance, Ask, Budget, Lease
from schemas.control import Campaign, EventTrigger, Policy
from schemas.outcome import Channel
from scoring.budget import Ledger, answer
from state.purse import UNMETERED, Leases, Purse, merged

MIDNIGHT_MS = 1_700_006_400_000
HOUR_MS = 3_600_000
COST = 50_000
CHANNELS: tuple[Channel, ...] = ("sms", "push")


def campaign(**budget: Any) -> Campaign:
    trigger = EventTrigger(actions=("view",))
    limits = Budget(**budget) if budget else None
    return Campaign("c", 1, "c", trigger, CHANNELS, budget=limits, updated_ms=1)


class Town:
    """Shards, the keeper and the control topic, each with bytes that survive it."""

    def __init__(self, spec: Campaign, shards: int) -> None:
        self.spec = spec
        self.stores: list[dict[str, bytes]] = [{} for _ in range(shards)]
        self.leases = [Leases() for _ in range(shards)]
        self.topic: list[bytes] = []
        self.ledger = Ledger(Lease(spec.id)).encode()
        self.purses = [self.purse(shard) for shard in range(shards)]
        self.asks: list[Ask] = []
        self.spent: dict[str, int] = dict.fromkeys(CHANNELS, 0)

    def purse(self, shard: int) -> Purse:
        return Purse(f"{shard:x}", self.stores[shard].get, self.leases[shard])

    def commit(self, shard: int) -> None:
        purse, store = self.purses[shard], self.stores[shard]
        self.asks += purse.take_asks()
        for key, value in purse.take_writes().items():
            if value is None:
                store.pop(key, None)
            else:
                store[key] = value

    def reserve(self, shard: int, channel: Any, at_ms: int) -> str:
        day = self.purses[shard].reserve(self.spec, channel, at_ms, COST)
        self.spent[channel] += COST if day else 0
        self.commit(shard)
        return day

    def keep(self, asks: list[Ask] | None = None) -> None:
        if asks is None:
            asks, self.asks = self.asks, []
        ledger = Ledger.decode(self.ledger)
        lease = answer(ledger, asks)
        self.ledger = ledger.encode()
        if lease is not None:
            self.topic.append(msgspec.json.encode(lease))

    def hear(self, shard: int, place: int = -1) -> None:
        if self.topic:
            self.leases[shard].accept(msgspec.json.decode(self.topic[place], type=Lease))


moves = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 2), st.sampled_from(CHANNELS)),
    st.tuples(st.just("keep"), st.just(0), st.just("")),
    st.tuples(st.just("round"), st.just(0), st.just("")),
    st.tuples(st.just("repeat"), st.just(0), st.just("")),
    st.tuples(st.just("hear"), st.integers(0, 2), st.integers(0, 20)),
    st.tuples(st.just("restart"), st.integers(0, 2), st.just("")),
    st.tuples(st.just("bounce"), st.integers(0, 2), st.sampled_from(CHANNELS)),
    st.tuples(st.just("tend"), st.integers(0, 2), st.just("")),
)


@settings(max_examples=500)
@example([("reserve", 0, "sms"), ("restart", 0, ""), ("reserve", 0, "sms")], 0, 0)
@given(st.lists(moves, max_size=120), st.integers(0, 12), st.integers(0, 6))
def test_no_more_is_spent_than_the_budget_holds(
    story: list[tuple[str, int, Any]], messages: int, sms: int
) -> None:
    spec = campaign(
        total=messages * COST / 1e6,
        channels={"sms": Allowance(total=sms * COST / 1e6)},
        pace="none",
    )
    town, at_ms, before = Town(spec, 3), MIDNIGHT_MS + HOUR_MS, []
    sent: list[tuple[int, str, str]] = []
    for what, shard, more in story:
        at_ms += 20_000
        match what:
            case "reserve":
                day = town.reserve(shard, more, at_ms)
                if day:
                    sent.append((shard, more, day))
            case "keep":
                before = list(town.asks)
                town.keep()
            case "round":
                town.keep()
                for each in range(3):
                    town.hear(each)
            case "repeat":
                town.keep(before)
            case "hear" if town.topic:
                town.hear(shard, more % len(town.topic))
            case "restart":
                town.purses[shard] = town.purse(shard)
            case "bounce":
                mine = [one for one in sent if one[:2] == (shard, more)]
                if mine:
                    sent.remove(mine[0])
                    town.purses[shard].release("c", more, mine[0][2], COST)
                    town.spent[more] -= COST
                    town.commit(shard)
            case "tend":
                town.purses[shard].tend(at_ms, (spec,), Policy())
                town.commit(shard)
        assert sum(town.spent.values()) <= messages * COST
        assert town.spent["sms"] <= sms * COST


def test_the_whole_budget_is_spent_when_there_is_demand() -> None:
    town = Town(campaign(total=1.0, pace="none"), 3)
    at_ms = MIDNIGHT_MS + HOUR_MS
    for step in range(3_000):
        at_ms += 5_000
        town.reserve(step % 3, "sms", at_ms)
        town.keep()
        for shard in range(3):
            town.hear(shard)
            town.purses[shard].tend(at_ms, (town.spec,), Policy())
            town.commit(shard)
    assert town.spent["sms"] == 1_000_000


def test_an_evenly_paced_day_is_not_spent_in_the_morning() -> None:
    town = Town(campaign(per_day=10.0), 3)
    for minute in range(24 * 60):
        at_ms = MIDNIGHT_MS + minute * 60_000
        for shard in range(3):
            town.reserve(shard, "sms", at_ms)
        town.keep()
        for shard in range(3):
            town.hear(shard)
        opened = 10_000_000 * (minute * 60_000 + HOUR_MS // 2) // (24 * HOUR_MS)
        assert town.spent["sms"] <= min(opened, 10_000_000)
    assert town.spent["sms"] > 9_000_000


def test_a_keeper_that_went_back_learns_its_own_newer_loans() -> None:
    town = Town(campaign(total=4 * COST / 1e6, pace="none"), 2)
    at_ms = MIDNIGHT_MS + HOUR_MS
    saved = town.ledger
    town.reserve(0, "sms", at_ms)
    town.keep()
    town.hear(0)
    while town.reserve(0, "sms", at_ms := at_ms + 90_000):
        town.keep()
        town.hear(0)
    ledger = Ledger.decode(saved)
    for value in town.topic:
        ledger.learn(msgspec.json.decode(value, type=Lease))
    town.ledger = ledger.encode()
    for _ in range(20):
        town.reserve(1, "sms", at_ms := at_ms + 90_000)
        town.keep()
        town.hear(1)
    assert town.spent["sms"] <= 4 * COST
    assert town.spent["sms"] > 0


def test_a_shard_that_lost_its_state_does_not_spend_its_loans_again() -> None:
    town = Town(campaign(total=1.0, pace="none"), 1)
    town.reserve(0, "sms", MIDNIGHT_MS)
    town.keep()
    town.hear(0)
    assert town.reserve(0, "sms", MIDNIGHT_MS)
    town.stores[0].clear()
    town.purses[0] = town.purse(0)
    assert not town.reserve(0, "sms", MIDNIGHT_MS)


def test_a_campaign_without_a_budget_pays_for_nothing() -> None:
    town = Town(campaign(), 1)
    assert town.reserve(0, "sms", MIDNIGHT_MS) == UNMETERED


def test_loans_merge_to_the_same_in_any_order() -> None:
    town = Town(campaign(total=5.0, pace="none"), 2)
    for step in range(40):
        town.reserve(step % 2, "sms", MIDNIGHT_MS + step * 90_000)
        town.keep()
        town.hear(step % 2)
    records = [msgspec.json.decode(value, type=Lease) for value in town.topic]
    assert len(records) > 3
    forward = backward = None
    for one, other in zip(records, reversed(records), strict=True):
        forward, backward = merged(forward, one), merged(backward, other)
    assert forward == backward == merged(forward, records[0])
