from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.control import campaigns, control
from benchmarks.core import Harness, batches
from benchmarks.drain import Backlog
from benchmarks.oracle import Decisions, decisions_of, horizon_ms
from benchmarks.workload import SHARDS, Workload
from operators.shard import shard_of
from schemas.decision import Decision
from schemas.topics import DECISIONS
from schemas.wire import decode_event

START_MS = 1_760_000_000_000
WORKLOAD = Workload(7, 6_000, 1_500, START_MS, 7_200_000)


@pytest.fixture(scope="module")
def backlog() -> Backlog:
    return Backlog.make(WORKLOAD, control())


def _decide(backlog: Backlog, batch: int) -> Decisions:
    closing = [message for _, message in WORKLOAD.closing(1)]
    work = batches([*backlog.messages, *closing], START_MS + 7_200_000, batch)
    outputs = Harness(backlog.control).outputs(work)
    values = (value for topic, _, value in outputs if topic == DECISIONS)
    return decisions_of(values, horizon_ms(WORKLOAD))


def test_equal_workloads_are_equal_bytes_and_other_seeds_are_not() -> None:
    same = Workload(7, 6_000, 1_500, START_MS, 7_200_000)
    other = Workload(8, 6_000, 1_500, START_MS, 7_200_000)
    assert WORKLOAD.messages() == same.messages() != other.messages()


def test_events_are_valid_in_order_and_as_large_as_a_real_producers() -> None:
    messages = WORKLOAD.messages()
    events = [decode_event(value) for _, value in messages]
    times = [event.ts for event in events]
    assert len(events) == len({event.event_id for event in events}) == 6_000
    assert times == sorted(times)  # type: ignore[type-var]
    assert START_MS <= times[0] <= times[-1] < START_MS + 7_200_000  # type: ignore[operator]
    assert 200 < sum(len(value) for _, value in messages) / 6_000 < 330
    assert [event.user_id.encode() for event in events] == [key for key, _ in messages]


def test_few_customers_cause_much_of_the_traffic() -> None:
    seen = Counter(key for key, _ in WORKLOAD.messages())
    top = sum(count for _, count in seen.most_common(15))
    assert 0.12 < top / 6_000 < 0.40


def test_customers_introduce_themselves_once_with_their_first_event() -> None:
    said = [decode_event(value) for _, value in WORKLOAD.messages()]
    first: dict[str, bool] = {}
    for event in said:
        assert (event.consent is not None) == (event.user_id not in first)
        first[event.user_id] = True


def test_known_customers_introduced_themselves_before() -> None:
    known = Workload(7, 500, 300, START_MS, 60_000, known=True)
    introduced = [decode_event(value) for _, value in known.introductions()]
    assert len({event.user_id for event in introduced}) == 300
    assert all(event.consent is not None and event.ts < START_MS for event in introduced)  # type: ignore[operator]
    assert all(decode_event(value).consent is None for _, value in known.messages())


def test_a_realistic_share_of_the_events_leads_to_a_decision(backlog: Backlog) -> None:
    assert 0.03 < len(backlog.expected.records) / 6_000 < 0.12
    assert 0 < len(backlog.expected.by_event) < len(backlog.expected.records)


def test_closing_events_reach_every_shard_and_partition() -> None:
    closing = WORKLOAD.closing(3)
    reached = {(shard_of(key.decode(), SHARDS), partition) for partition, (key, _) in closing}
    assert len(closing) == len(reached) == 3 * SHARDS


def test_smaller_batches_lead_to_the_same_decisions(backlog: Backlog) -> None:
    assert backlog.expected.differences(_decide(backlog, 1)) is None
    assert backlog.expected.differences(_decide(backlog, 3)) is None


def test_one_changed_decision_is_a_difference(backlog: Backlog) -> None:
    import msgspec

    decoder = msgspec.json.Decoder(Decision)
    values = list(backlog.expected.records.values())
    changed = msgspec.structs.replace(decoder.decode(values[0]), propensity=0.123)
    horizon = horizon_ms(WORKLOAD)
    assert backlog.expected.differences(decisions_of(values, horizon)) is None
    lost = backlog.expected.differences(decisions_of(values[1:], horizon))
    other = backlog.expected.differences(
        decisions_of([msgspec.json.encode(changed), *values[1:]], horizon)
    )
    twice = backlog.expected.differences(
        decisions_of([*values, msgspec.json.encode(changed)], horizon)
    )
    assert "1 missing" in str(lost)
    assert "1 unequal" in str(other)
    assert "1 with two contents" in str(twice)


@pytest.mark.parametrize("count", [1, 3, 10, 40])
def test_as_many_campaigns_as_asked_are_in_force(count: int) -> None:
    made = campaigns(count)
    assert len({campaign.id for campaign in made}) == count
    assert len(Harness(control(count)).decider.world.campaigns) == count
