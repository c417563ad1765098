"""Whatever parallel shards, lost and repeated loans do, no more is spent than the budget holds."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.budget import Allowance, Ask, Budget, Lease
from schemas.control import Campaign, EventTrigger, Policy
from schemas.decision import Decision
from schemas.outcome import Channel
from scoring.budget import Ledger, answer
from state.loans import Leases, merged
from state.purse import AWAITED, DAYS_KEPT, SPENT, UNMETERED, Paid, Purse
from tests.published import decision

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
        self.saved: list[dict[str, bytes]] = [{} for _ in range(shards)]
        self.leases = [Leases() for _ in range(shards)]
        self.topic: list[bytes] = []
        self.ledger = self.ledger_saved = Ledger(Lease(spec.id)).encode()
        self.published: list[list[Decision]] = [[] for _ in range(shards)]
        self.bounces: list[list[Decision]] = [[] for _ in range(shards)]
        self.purses = [self.purse(shard) for shard in range(shards)]
        self.asks: list[Ask] = []
        self.spent: dict[str, int] = dict.fromkeys(CHANNELS, 0)

    def purse(self, shard: int) -> Purse:
        return Purse(
            f"{shard:x}", self.stores[shard].get, self.leases[shard], self.published[shard], {}
        )

    def commit(self, shard: int) -> None:
        purse, store = self.purses[shard], self.stores[shard]
        self.asks += purse.take_asks()
        for key, value in purse.take_writes().items():
            if value is None:
                store.pop(key, None)
            else:
                store[key] = value

    def reserve(self, shard: int, channel: Any, at_ms: int) -> Paid | None:
        paid = self.purses[shard].reserve(self.spec, channel, at_ms, COST)
        if paid is not None:
            self.spent[channel] += COST
            self.published[shard].append(
                decision(
                    "ann",
                    len(self.published[shard]),
                    campaign_id=self.spec.id,
                    channel=channel,
                    cost_micros=COST,
                    paid_day=paid.day,
                    paid_number=paid.number,
                )
            )
        self.commit(shard)
        return paid

    def bounce(self, shard: int, sent: Decision) -> None:
        self.purses[shard].release("c", sent.channel, sent.paid_day, COST)
        self.bounces[shard].append(sent)
        self.spent[sent.channel] -= COST
        self.commit(shard)

    def keep(self, asks: list[Ask] | None = None) -> None:
        if asks is None:
            asks, self.asks = self.asks, []
        ledger = Ledger.decode(self.ledger)
        lease = answer(ledger, asks)
        self.ledger = ledger.encode()
        if lease is not None:
            self.topic.append(msgspec.json.encode(lease))

    def loans(self) -> list[Lease]:
        return [msgspec.json.decode(value, type=Lease) for value in self.topic]

    def hear(self, shard: int, place: int = -1) -> None:
        if self.topic:
            self.leases[shard].accept(self.loans()[place])

    def everybody(self, at_ms: int) -> None:
        """The keeper answers, all hear it, and look after their purses."""
        self.keep()
        for shard, purse in enumerate(self.purses):
            self.hear(shard)
            purse.tend(at_ms, (self.spec,), Policy())
            self.commit(shard)

    def checkpoint(self, shard: int) -> None:
        self.saved[shard] = dict(self.stores[shard])
        self.bounces[shard] = []

    def crash(self, shard: int) -> None:
        """Back to the checkpoint, with what was published at hand; then the outcomes again."""
        self.stores[shard] = dict(self.saved[shard])
        self.leases[shard] = Leases()
        for lease in self.loans():
            self.leases[shard].accept(lease)
        self.purses[shard] = self.purse(shard)
        for sent in self.bounces[shard]:
            self.purses[shard].release("c", sent.channel, sent.paid_day, COST)
        self.commit(shard)

    def crash_keeper(self) -> None:
        """Back to the checkpoint, then what was published is learned."""
        ledger = Ledger.decode(self.ledger_saved)
        for lease in self.loans():
            ledger.learn(lease)
        self.ledger = ledger.encode()


moves = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 2), st.sampled_from(CHANNELS)),
    st.tuples(st.just("keep"), st.just(0), st.just("")),
    st.tuples(st.just("round"), st.just(0), st.just("")),
    st.tuples(st.just("repeat"), st.just(0), st.just("")),
    st.tuples(st.just("hear"), st.integers(0, 2), st.integers(0, 20)),
    st.tuples(st.just("restart"), st.integers(0, 2), st.just("")),
    st.tuples(st.just("checkpoint"), st.integers(0, 2), st.just("")),
    st.tuples(st.just("crash"), st.integers(0, 2), st.just("")),
    st.tuples(st.just("save keeper"), st.just(0), st.just("")),
    st.tuples(st.just("crash keeper"), st.just(0), st.just("")),
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
    bounced: set[tuple[int, str]] = set()
    for what, shard, more in story:
        at_ms += 20_000
        match what:
            case "reserve":
                town.reserve(shard, more, at_ms)
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
            case "checkpoint":
                town.checkpoint(shard)
            case "crash":
                town.crash(shard)
            case "save keeper":
                town.ledger_saved = town.ledger
            case "crash keeper":
                town.crash_keeper()
            case "bounce":
                for sent in town.published[shard]:
                    if sent.channel == more and (shard, sent.decision_id) not in bounced:
                        bounced.add((shard, sent.decision_id))
                        town.bounce(shard, sent)
                        break
            case "tend":
                town.purses[shard].tend(at_ms, (spec,), Policy())
                town.commit(shard)
        assert sum(town.spent.values()) <= messages * COST
        assert town.spent["sms"] <= sms * COST


@given(st.lists(moves, max_size=60), st.integers(1, 5))
def test_a_budget_that_was_cut_holds_once_all_have_heard_of_it(
    story: list[tuple[str, int, Any]], left: int
) -> None:
    town, at_ms = Town(campaign(total=1.0, pace="none"), 3), MIDNIGHT_MS + HOUR_MS
    for step in range(6):
        for shard in range(3):
            town.reserve(shard, "sms", at_ms := at_ms + 7_000 * (step + 1))
        town.everybody(at_ms)
    spent = town.spent["sms"]
    assert spent > left * COST / 2
    budget = Budget(total=left * COST / 1e6, pace="none")
    town.spec = msgspec.structs.replace(town.spec, budget=budget, updated_ms=2)
    heard = [len(town.topic)] * 3
    for what, shard, more in story:
        at_ms += 20_000
        match what:
            case "reserve":
                town.reserve(shard, more, at_ms)
            case "keep":
                town.keep()
            case "hear" if heard[shard] < len(town.topic):
                town.hear(shard, heard[shard])
                heard[shard] += 1
            case "tend":
                town.purses[shard].tend(at_ms, (town.spec,), Policy())
                town.commit(shard)
        assert sum(town.spent.values()) <= max(spent, left * COST)


def test_the_whole_budget_is_spent_when_there_is_demand() -> None:
    town = Town(campaign(total=1.0, pace="none"), 3)
    at_ms = MIDNIGHT_MS + HOUR_MS
    for step in range(3_000):
        at_ms += 5_000
        town.reserve(step % 3, "sms", at_ms)
        town.everybody(at_ms)
    assert town.spent["sms"] == 1_000_000


def test_what_an_idle_shard_holds_is_recalled_and_spent_by_another() -> None:
    town = Town(campaign(total=6 * COST / 1e6, pace="none"), 2)
    at_ms = MIDNIGHT_MS + HOUR_MS
    for shard in range(2):
        town.reserve(shard, "sms", at_ms)
    town.everybody(at_ms)
    for _ in range(60):
        town.reserve(0, "sms", at_ms := at_ms + 30_000)
        town.everybody(at_ms)
    assert town.spent["sms"] == 6 * COST
    assert not town.published[1]


def test_what_bounced_is_sent_to_somebody_else() -> None:
    town = Town(campaign(total=2 * COST / 1e6, pace="none"), 1)
    at_ms = MIDNIGHT_MS + HOUR_MS
    for _ in range(10):
        town.reserve(0, "sms", at_ms := at_ms + 30_000)
        town.everybody(at_ms)
    assert len(town.published[0]) == 2
    town.bounce(0, town.published[0][0])
    assert town.reserve(0, "sms", at_ms + 1) is not None
    assert town.reserve(0, "sms", at_ms + 2) is None


def test_a_refusal_tells_what_is_spent_from_what_is_awaited() -> None:
    town = Town(campaign(total=COST / 1e6, pace="none"), 1)
    purse, at_ms = town.purses[0], MIDNIGHT_MS + HOUR_MS
    assert purse.refusal(town.spec, "sms", at_ms, COST) == AWAITED
    town.commit(0)
    town.everybody(at_ms)
    assert purse.refusal(town.spec, "sms", at_ms, COST) == ""
    assert town.reserve(0, "sms", at_ms)
    assert purse.refusal(town.spec, "sms", at_ms, COST) == SPENT


def test_a_day_that_ended_lends_its_rest_to_the_next_and_closes() -> None:
    town = Town(campaign(total=10 * COST / 1e6, pace="none"), 1)
    day_ms = 24 * HOUR_MS
    at_ms = MIDNIGHT_MS + HOUR_MS
    town.reserve(0, "sms", at_ms)
    town.everybody(at_ms)
    assert town.reserve(0, "sms", at_ms)
    yesterday = town.published[0][0]
    for hour in range(3 * 24):
        town.everybody(at_ms + day_ms + hour * HOUR_MS)
    later_ms = at_ms + (DAYS_KEPT + 3) * day_ms
    town.everybody(later_ms)
    assert not any(yesterday.paid_day in key for key in town.stores[0])
    town.purses[0].release("c", "sms", yesterday.paid_day, COST)  # too late to be sent again
    for _ in range(60):
        town.reserve(0, "sms", later_ms := later_ms + 60_000)
        town.everybody(later_ms)
    assert town.spent["sms"] == 10 * COST


def test_a_clock_that_follows_after_years_still_gives_back_what_it_was_lent_before() -> None:
    town = Town(campaign(total=16 * COST / 1e6, pace="none"), 4)
    for _ in range(3):
        town.everybody(MIDNIGHT_MS + HOUR_MS)
    at_ms = MIDNIGHT_MS + 9 * 365 * 24 * HOUR_MS
    for step in range(200):  # today's events, one shard after another; then the clocks
        town.reserve(step % 4, "sms", at_ms := at_ms + 5_000)
        town.keep()
        for shard in range(4):
            town.hear(shard)
        if step > 20:
            town.everybody(at_ms)
    assert town.spent["sms"] == 16 * COST


def test_a_payment_published_before_a_crash_is_made_once_however_often_it_is_read() -> None:
    town = Town(campaign(total=1.0, pace="none"), 1)
    at_ms = MIDNIGHT_MS + HOUR_MS
    town.reserve(0, "sms", at_ms)
    town.everybody(at_ms)
    town.checkpoint(0)
    assert town.reserve(0, "sms", at_ms) == Paid("2023-11-15", 1)
    for _ in range(3):
        town.crash(0)
    assert town.reserve(0, "sms", at_ms) == Paid("2023-11-15", 2)


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
    for lease in town.loans():
        ledger.learn(lease)
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
    town.purses[0] = Purse("0", town.stores[0].get, town.leases[0], inherited=town.leases[0])
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
    records = town.loans()
    assert len(records) > 3
    forward = backward = None
    for one, other in zip(records, reversed(records), strict=True):
        forward, backward = merged(forward, one), merged(backward, other)
    assert forward == backward == merged(forward, records[0])
