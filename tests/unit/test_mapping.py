from datetime import UTC, datetime

import pytest

from jobs.mapping import Unmappable, read_mapping
from schemas.errors import UserMistake
from schemas.event import BehaviorEvent, Consent, Location

HEAD = "event:\n  user_id: u\n  action: a\n  ts: {from: t, time: epoch_s}\n"


@pytest.fixture
def mapping(tmp_path):
    def read(text):
        path = tmp_path / "map.yaml"
        path.write_text(text)
        return read_mapping(path)

    return read


def complaint(mapping, text):
    with pytest.raises(UserMistake) as refused:
        mapping(text)
    return str(refused.value).partition("map.yaml:")[2]


def refusal(ready, *row):
    with pytest.raises(Unmappable) as refused:
        ready.event(row, "x-1")
    return refused.value.reason


def test_columns_become_fields_and_a_missing_id_is_the_fallback(mapping):
    ready = mapping(HEAD)
    assert ready.sources == ["u", "a", "t"]
    event = ready.event(("7", "view", "1511658000"), "x-1")[0]
    assert event == BehaviorEvent("x-1", "7", "view", 1_511_658_000_000)


def test_text_becomes_the_types_of_the_contract(mapping):
    ready = mapping(
        HEAD
        + "  event_id: id\n  price: p\n  quantity: q\n  location.lat: la\n  location.lon: lo\n"
        + "  consent.sms: c\n"
    )
    row = (7, "view", 1_511_658_000.5, "e", "12.5", "2.0", "52.5", "13", "yes")
    event = ready.event(row, "x-1")[0]
    assert (event.event_id, event.user_id, event.ts) == ("e", "7", 1_511_658_000_500)
    assert (event.price, event.quantity, event.consent) == (12.5, 2, Consent(sms=True))
    assert event.location == Location(52.5, 13.0)


def test_an_empty_value_is_absent_and_a_default_takes_its_place(mapping):
    ready = mapping(HEAD + "  brand: b\n  price: {from: p, default: 1.5}\n")
    event = ready.event(("7", "view", "1511658000", "", float("nan")), "x-1")[0]
    assert (event.brand, event.price) == (None, 1.5)


def test_constants_and_columns_meet_in_one_nested_field(mapping):
    ready = mapping(
        HEAD + "  consent: {constant: {marketing: true}}\n  consent.push: p\n"
        "  consent.sms: {constant: false}\n  source: {constant: shop}\n"
    )
    event = ready.event(("7", "view", "1511658000", "no"), "x-1")[0]
    assert event.consent == Consent(marketing=True, sms=False, push=False)
    assert event.source == "shop"


def test_a_table_of_values_translates_and_refuses_or_replaces_the_rest(mapping):
    table = "{from: a, values: {pv: view, 2: cart}%s}"
    strict = mapping(HEAD.replace("action: a", "action: " + table % ""))
    loose = mapping(HEAD.replace("action: a", "action: " + table % ", otherwise: share"))
    assert strict.event(("7", "pv", "1511658000"), "x")[0].action == "view"
    assert strict.event(("7", 2, "1511658000"), "x")[0].action == "cart"
    assert refusal(strict, "7", "buy", "1511658000") == "action is not in `values`"
    assert loose.event(("7", "buy", "1511658000"), "x")[0].action == "share"


@pytest.mark.parametrize(
    ("clock", "value"),
    [
        ("time: epoch_s", "1511658000"),
        ("time: epoch_ms", 1_511_658_000_000),
        ("time: iso", "2017-11-26T01:00:00Z"),
        ("time: iso", "2017-11-26T09:00:00+08:00"),
        ("time: iso, zone: Asia/Shanghai", "2017-11-26 09:00:00"),
        ("time: '%d.%m.%Y %H:%M', zone: Asia/Shanghai", "26.11.2017 09:00"),
        ("time: '%Y%m%d%H%M%z'", "201711260900+0800"),
        ("time: iso", datetime(2017, 11, 26, 1, tzinfo=UTC)),
    ],
)
def test_every_time_format_gives_the_same_instant(mapping, clock, value):
    ready = mapping(HEAD.replace("time: epoch_s", clock))
    assert ready.event(("7", "view", value), "x")[0].ts == 1_511_658_000_000


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("", "view", "1511658000"), "user_id is empty"),
        (("7", "view", "noon"), "ts cannot be read"),
        (("7", "view", "12"), "the contract refuses it as bad_timestamp"),
        (("7", "VIEW", "1511658000"), "the contract refuses it as wrong_type"),
        (("7" * 200, "view", "1511658000"), "the contract refuses it as wrong_type"),
        (("a b", "view", "1511658000"), "the contract refuses it as wrong_type"),
        (("7", "clicked", "1511658000"), "the contract refuses it as wrong_type"),
        (("7", "\udc80", "1511658000"), "a row is not UTF-8"),
        (([], "view", "1511658000"), "user_id cannot be read"),
        (("7", "view", "inf"), "ts cannot be read"),
        (("7", "view", "1" * 5000), "ts cannot be read"),
    ],
)
def test_a_row_that_makes_no_event_says_why(mapping, row, reason):
    assert refusal(mapping(HEAD), *row) == reason


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("  action: a\n", "", "1: event: action is missing"),
        ("action: a", "acton: a", "3: event.acton: no such field; there are: event_id"),
        ("action: a", "action: {form: a}", "3: event.action.form: unknown field; did you mean"),
        ("action: a", "action: {}", "3: event.action: give it a column"),
        ("action: a", "action: {from: a, constant: view}", "3: event.action: `from:` and"),
        ("action: a", "action: {from: a, values: {pv: View}}", "3: event.action: 'View' breaks"),
        ("action: a", "action: {from: a, otherwise: view}", "3: event.action: `otherwise:` is"),
        ("action: a", "action: {from: a, time: iso}", "3: event.action: `time:` and `zone:`"),
        ("action: a", "action: {constant: 7}", "3: event.action: 7 breaks the contract"),
        ("epoch_s", "seconds", "4: event.ts: time 'seconds' is none of epoch_s"),
        ("epoch_s", "'%Y-%m-%d'", "4: event.ts: time '%Y-%m-%d' has no %z; add `zone:`"),
        ("epoch_s", "iso, zone: Mars", "4: event.ts: zone 'Mars' is no IANA time zone"),
        ("event:", "header: false\nevent:", "1: header: without a header, `columns:`"),
        ("event:", "fromat: csv\nevent:", "1: fromat: unknown field; did you mean 'format'?"),
        ("event:", "format: xml\nevent:", "1: format: 'xml' is not known; there are: csv"),
    ],
)
def test_a_mistake_in_the_mapping_names_line_field_and_fix(mapping, old, new, what):
    assert old in HEAD
    assert complaint(mapping, HEAD.replace(old, new, 1)).startswith(what)
