from collections import Counter
from itertools import islice

import msgspec
import pytest

from jobs.market.faults import BREAKAGES, NO_FAULTS, Faults
from jobs.market.market import DORMANCY_MS, Market
from schemas.errors import InvalidRecord, UserMistake
from schemas.topics import DAY_MS
from schemas.wire import decode_event, instant_ms

START_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


def emissions(market, count=20_000, **options):
    return list(market.events(START_MS, START_MS + HOUR_MS, count, **options))


def test_the_same_seed_gives_the_same_bytes():
    first, second = Market(7, 2_000), Market(7, 2_000)
    assert list(first.fill(START_MS, HOUR_MS)) == list(second.fill(START_MS, HOUR_MS))
    assert emissions(first) == emissions(second)


def test_another_seed_gives_another_market():
    payloads = {emission.payload for emission in emissions(Market(7, 2_000))}
    assert not payloads & {emission.payload for emission in emissions(Market(8, 2_000))} - {b""}


def test_a_second_run_of_the_same_seed_repeats_no_event_id():
    market = Market(7, 500)
    later = market.events(START_MS + 1, START_MS + 1 + HOUR_MS, 2_000)
    ids = {emission.event_id for emission in emissions(market, 2_000)} - {""}
    assert ids.isdisjoint(emission.event_id for emission in later)


def test_emissions_come_in_order_evenly_and_as_many_as_asked_for():
    due = [emission.due_ms for emission in emissions(Market(7, 1_000), 3_600)]
    assert due == [START_MS + 1_000 * place for place in range(3_600)]


def test_a_market_without_faults_sends_nothing_but_events_that_just_happened():
    for emission in emissions(Market(7, 1_000, faults=NO_FAULTS), 5_000):
        assert emission.kind == "event"
        assert decode_event(emission.payload).ts == emission.due_ms


def test_what_is_not_broken_decodes_and_is_keyed_by_its_customer():
    market = Market(7, 1_000)
    sent = [*market.fill(START_MS, HOUR_MS), *emissions(market)]
    whole = [emission for emission in sent if not emission.kind.startswith("broken")]
    assert len(whole) > 15_000
    for emission in whole:
        event = decode_event(emission.payload)
        assert event.user_id.encode() == emission.key
        assert emission.event_id in ("", event.event_id)
        assert instant_ms(event.ts) <= emission.due_ms


def refusal(payload, sent_ms):
    try:
        ts = instant_ms(decode_event(payload).ts)
    except InvalidRecord as error:
        return error.reason
    return "future_timestamp" if ts > sent_ms + 300_000 else None


def test_what_is_broken_is_refused_for_the_stated_reason():
    seen = set()
    for emission in emissions(Market(7, 1_000, faults=Faults(broken=0.2)), 10_000):
        kind, _, name = emission.kind.partition(":")
        if kind == "broken":
            seen.add(name)
            assert refusal(emission.payload, emission.due_ms) == BREAKAGES[name].reason, name
            assert emission.event_id == ""
    assert seen == set(BREAKAGES)


def test_faults_come_at_their_rates():
    faults = Faults(duplicates=0.03, late=0.02, out_of_order=0.05, broken=0.04, bots=0.0)
    count = 60_000
    counts = Counter(
        emission.kind.partition(":")[0]
        for emission in emissions(Market(11, 5_000, faults=faults), count)
    )
    for kind, ratio in (
        ("duplicate", 0.03),
        ("late", 0.02),
        ("out_of_order", 0.05),
        ("broken", 0.04),
    ):
        deviation = (count * ratio * (1 - ratio)) ** 0.5
        assert abs(counts[kind] - count * ratio) < 4.5 * deviation, kind


def test_a_duplicate_repeats_an_earlier_event_to_the_byte():
    seen = set()
    duplicates = 0
    for emission in emissions(Market(7, 1_000)):
        if emission.kind == "duplicate":
            duplicates += 1
            assert (emission.key, emission.payload) in seen
        seen.add((emission.key, emission.payload))
    assert duplicates > 100


def test_late_events_are_late_and_disordered_ones_are_not():
    for emission in emissions(Market(7, 1_000, faults=Faults(late=0.1, out_of_order=0.1)), 5_000):
        if emission.kind in ("late", "out_of_order"):
            behind_ms = emission.due_ms - instant_ms(decode_event(emission.payload).ts)
            assert (behind_ms > 60_000) == (emission.kind == "late")
            assert behind_ms > 0


def test_a_fill_names_every_customer_once_and_the_dormant_come_due_in_the_run():
    market = Market(7, 3_000)
    events = [decode_event(emission.payload) for emission in market.fill(START_MS, HOUR_MS)]
    assert [event.user_id for event in events] == [
        market.population.user_id(customer) for customer in range(3_000)
    ]
    dormant = 0
    for customer, event in enumerate(events):
        consent = msgspec.structs.asdict(event.consent)
        assert consent == market.population.consents(customer)
        assert event.traits.zone is not None
        if market.population.dormant[customer]:
            dormant += 1
            assert START_MS <= event.ts + DORMANCY_MS <= START_MS + HOUR_MS
            assert event.action == "purchase"
        else:
            assert START_MS - DAY_MS <= event.ts < START_MS
    assert dormant > 100


def test_customers_introduce_themselves_before_anything_else_unless_a_fill_did():
    market = Market(7, 5_000, faults=NO_FAULTS)
    known = set()
    for emission in emissions(market, 5_000):
        event = decode_event(emission.payload)
        assert event.action == "identify" or event.user_id in known
        known.add(event.user_id)
    filled = emissions(market, 5_000, introduce=False)
    assert not any(b'"identify"' in emission.payload for emission in filled)


def test_sessions_lead_from_views_to_carts_to_fewer_purchases():
    market = Market(7, 5_000, faults=NO_FAULTS)
    actions = Counter(decode_event(emission.payload).action for emission in emissions(market))
    assert actions["view"] > 5 * actions["cart"] > 5 * actions["purchase"] > 500
    assert {"favourite", "search", "login", "consent", "cart_remove", "share"} <= set(actions)


def test_bots_view_a_lot_and_buy_nothing():
    market = Market(7, 500, faults=Faults(bots=0.1))
    bots = [emission for emission in emissions(market) if emission.kind == "bot"]
    actions = {decode_event(emission.payload).action for emission in bots}
    assert len(bots) > 1_000
    assert actions == {"view", "identify"}


def test_events_stream_without_being_made_all_at_once():
    endless = Market(7, 1_000).events(START_MS, START_MS + 10**12, 10**9)
    assert len(list(islice(endless, 1_000))) == 1_000


@pytest.mark.parametrize(
    "text", ['{"late": 2}', '{"brokn": 0.1}', "{", '{"late": 0.9, "broken": 0.9}']
)
def test_impossible_fault_rates_are_refused_with_a_sentence(text):
    with pytest.raises(UserMistake, match="--faults"):
        Faults.parse(text)


def test_fault_rates_are_read_from_json():
    assert Faults.parse('{"broken": 0.5}') == Faults(broken=0.5)
    assert Faults.parse("none") == NO_FAULTS
