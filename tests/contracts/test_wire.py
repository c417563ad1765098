import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import json as wire_json

from schemas.deadletter import REASONS
from schemas.errors import InvalidRecord
from schemas.event import ACTIONS, MAX_EVENT_BYTES, BehaviorEvent
from schemas.generate import CONTRACTS, schema_of
from schemas.outcome import Outcome
from schemas.topics import EVENTS
from schemas.wire import (
    dead_letter,
    decode_control,
    decode_event,
    decode_outcome,
    encode,
    instant_ms,
    unknown_fields,
)
from tests.contract_values import records_of, values_of

EVENT = {
    "event_id": "e-1",
    "user_id": "ann",
    "action": "view",
    "ts": 1_700_000_000_000,
    "item_id": "shoe-7",
    "price": 59.9,
    "location": {"lat": 59.9, "lon": 10.7},
    "consent": {"marketing": True},
    "traits": {"city": "Oslo", "birth_year": 1990},
}
OUTCOME = {"outcome_id": "o-1", "user_id": "ann", "kind": "clicked", "ts": 1_700_000_000_000,
           "decision_id": "d-1"}  # fmt: skip
CAMPAIGN = {"kind": "campaign", "id": "spring", "version": 1, "name": "Spring",
            "trigger": {"kind": "event", "actions": ["view"]}, "channels": ["sms"]}  # fmt: skip


def raw(record, **changes):
    return json.dumps(record | changes).encode()


def without(record, name):
    return raw({key: value for key, value in record.items() if key != name})


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_record_survives_the_wire_and_fits_its_json_schema(contract):
    shape = CONTRACTS[contract]
    schema = Draft202012Validator(json.loads(schema_of(contract)))

    @settings(max_examples=50)
    @given(records_of(shape))
    def holds(record):
        sent = encode(record)
        assert wire_json.decode(sent, type=shape) == record
        assert encode(wire_json.decode(sent, type=shape)) == sent
        schema.validate(json.loads(sent))

    holds()


@given(values_of(BehaviorEvent), st.sampled_from(ACTIONS))
def test_every_event_of_the_contract_is_read(value, action):
    sent = encode(value | {"action": action})
    assert wire_json.decode(sent, type=BehaviorEvent) == decode_event(sent)


@given(values_of(Outcome))
def test_every_outcome_of_the_contract_is_read(value):
    sent = encode(value | {"decision_id": "d", "order_id": "o"})
    assert wire_json.decode(sent, type=Outcome) == decode_outcome(sent)


@given(records_of(CONTRACTS["control"]))
def test_every_control_record_of_the_contract_is_read(record):
    assert decode_control(encode(record)) == record


def test_unknown_fields_are_tolerated_and_named():
    sent = raw(EVENT, colour="red", nested={"a": [1]})
    assert decode_event(sent) == decode_event(raw(EVENT))
    assert set(unknown_fields(BehaviorEvent, sent)) == {"colour", "nested"}
    assert set(unknown_fields(BehaviorEvent, raw(EVENT))) == set()
    assert decode_control(raw(CAMPAIGN, colour="red")) == decode_control(raw(CAMPAIGN))


DECODERS = {
    "event": (decode_event, EVENT),
    "outcome": (decode_outcome, OUTCOME),
    "control": (decode_control, CAMPAIGN),
}
BROKEN = {
    "nothing": b"",
    "half a record": b'{"event_id": "e-1", ',
    "words": b"view ann shoe-7",
    "a tail": b"{} {}",
    "no UTF-8": b'{"event_id": "\xff"}',
    "no UTF-8 in a field that nobody reads": b'{"event_id": "e", "\xff": "\xff"}',
    "NaN": b'{"price": NaN}',
    "a deep nest": b'{"x":' + b"[" * 15_000 + b"]" * 15_000 + b"}",
}


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_json_is_broken_json(name, what):
    assert refusal(DECODERS[name][0], BROKEN[what]) == "broken_json"


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("value", [b"[]", b"null", b"7", b'"text"', b"{}"])
def test_json_that_is_no_record_is_of_the_wrong_type(name, value):
    assert refusal(DECODERS[name][0], value) == "wrong_type"


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("version", [0, 2, -1, "1", None, 1.5, {"major": 1}])
def test_an_unknown_version_is_named_before_any_other_fault(name, version):
    decode, record = DECODERS[name]
    assert refusal(decode, raw(record, schema_version=version)) == "unknown_version"
    odd = raw({**record, "user_id": 7, "id": 7}, schema_version=version)
    assert refusal(decode, odd) == "unknown_version"


@pytest.mark.parametrize("name", ["event", "outcome"])
def test_a_record_larger_than_the_contract_is_oversized(name):
    decode, record = DECODERS[name]
    room = MAX_EVENT_BYTES - len(raw(record, extra=""))
    decode(raw(record, extra="x" * room))
    assert refusal(decode, raw(record, extra="x" * (room + 1))) == "oversized"
    assert refusal(decode, b"x" * 1_000_000) == "oversized"


@pytest.mark.parametrize("field", ["event_id", "user_id", "action", "ts"])
def test_an_event_without_a_required_field_is_of_the_wrong_type(field):
    assert refusal(decode_event, without(EVENT, field)) == "wrong_type"


@pytest.mark.parametrize("field", ["outcome_id", "user_id", "kind", "ts", "decision_id"])
def test_an_outcome_without_a_required_field_is_of_the_wrong_type(field):
    assert refusal(decode_outcome, without(OUTCOME, field)) == "wrong_type"


def test_leaving_needs_no_decision():
    assert decode_outcome(without({**OUTCOME, "kind": "unsubscribed"}, "decision_id"))


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": ""},
        {"event_id": 7},
        {"event_id": "x" * 129},
        {"event_id": "a\nb"},
        {"event_id": "a\x7fb"},
        {"user_id": "ann lee"},
        {"user_id": "änn"},
        {"user_id": "a\x1fb"},
        {"user_id": None},
        {"action": "View"},
        {"action": "add-to-list"},
        {"action": "clicked"},
        {"action": "x" * 33},
        {"ts": 1.5e12},
        {"ts": None},
        {"price": -1},
        {"price": "59.90"},
        {"price": 1e13},
        {"quantity": 1.5},
        {"currency": "euro"},
        {"location": {"lat": 91, "lon": 0}},
        {"location": {"lat": 1}},
        {"traits": {"birth_year": 1492}},
        {"consent": {"marketing": "yes"}},
        {"consent": True},
    ],
    ids=str,
)
def test_a_field_out_of_its_range_is_of_the_wrong_type(change):
    assert refusal(decode_event, raw(EVENT, **change)) == "wrong_type"


@pytest.mark.parametrize(
    "ts",
    [0, -1, 1_700_000_000, "yesterday", "", "2023-11-14", "2023-11-14T22:13:20", "1700000000000"],
)
def test_what_is_no_time_since_2000_is_a_bad_timestamp(ts):
    assert refusal(instant_ms, ts) == "bad_timestamp"


@pytest.mark.parametrize(
    "ts",
    [
        1_700_000_000_000,
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:13:20.000+00:00",
        "2023-11-15T06:13:20+08:00",
    ],
)
def test_numbers_and_date_times_name_the_same_instant(ts):
    assert instant_ms(ts) == 1_700_000_000_000


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "coupon"},
        {"id": "Spring Sale"},
        {"channels": []},
        {"channels": ["pigeon"]},
        {"holdout_ratio": 0.6},
        {"cooldown_ms": -1},
        {"trigger": {"kind": "moon"}},
        {"trigger": {"kind": "event", "actions": []}},
    ],
    ids=str,
)
def test_a_campaign_out_of_its_range_is_of_the_wrong_type(change):
    assert refusal(decode_control, raw(CAMPAIGN, **change)) == "wrong_type"


def mutants(count, seed=7):
    """Records that were valid until a few bytes were changed, lost, doubled or added."""
    dice = random.Random(seed)
    for _ in range(count):
        mutant = bytearray(raw(EVENT))
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(mutant))
            match dice.randrange(5):
                case 0:
                    mutant[at] = dice.randrange(256)
                case 1:
                    del mutant[at : at + dice.randint(1, 8)]
                case 2:
                    mutant[at:at] = mutant[at : at + dice.randint(1, 40)]
                case 3:
                    mutant[at:at] = dice.choice([b"null", b"1e999", b"[]", b"-", b"\\u0000", b'"'])
                case 4:
                    mutant[at] ^= 1 << dice.randrange(8)
        yield bytes(mutant)


def test_500_mutants_of_an_event_are_read_or_refused_with_a_reason():
    fits = Draft202012Validator(json.loads(schema_of("behavior-event")))
    ends = {"read": 0}
    for mutant in mutants(500):
        try:
            event = decode_event(mutant)
            instant_ms(event.ts)
        except InvalidRecord as error:
            ends[error.reason] = ends.get(error.reason, 0) + 1
            letter = dead_letter(error, mutant, EVENTS, 0, 1, 2)
            assert wire_json.decode(encode(letter), type=CONTRACTS["dead-letter"]) == letter
        else:
            ends["read"] += 1
            fits.validate(json.loads(mutant))
            unknown_fields(BehaviorEvent, mutant)
    assert ends.keys() - {"read"} <= REASONS.keys()
    assert len(ends) >= 4, ends


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9) | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(
        [*EVENT, *OUTCOME, "schema_version"]), inner),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_bytes_raise_anything_but_invalid_record(value):
    for decode, _ in DECODERS.values():
        refusal_or_none(decode, value)


def test_a_dead_letter_keeps_hash_coordinates_and_the_start_of_the_bytes():
    payload = b"x" * 50_000
    letter = dead_letter(InvalidRecord("oversized", "too big"), payload, EVENTS, 3, 41, 99)
    assert (letter.topic, letter.partition, letter.offset) == (EVENTS, 3, 41)
    assert (letter.reason, letter.size_bytes, letter.ingested_ms) == ("oversized", 50_000, 99)
    assert letter.sha256 == "9483d1c3ad73c1fcfe3260e5fdecbd9a70966a2cf2cd8b95c59d691e46790149"
    assert len(letter.payload) < 6_000


def refusal(decode, value):
    with pytest.raises(InvalidRecord) as refused:
        decode(value)
    assert refused.value.reason in REASONS
    assert refused.value.detail
    return refused.value.reason


def refusal_or_none(decode, value):
    try:
        decode(value)
    except InvalidRecord as error:
        return error.reason
    return None
