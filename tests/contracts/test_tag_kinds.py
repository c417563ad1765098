"""What every kind of tag promises; a kind added to `TAG_KINDS` is tested without being asked."""

from __future__ import annotations

import math
import pickle
from itertools import permutations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.event import ACTIONS, Consent, Device, Location, Traits
from state.fact import Fact
from state.tagging import TAG_KINDS
from state.tagging.base import Tag
from state.tagging.channels import KINDS as OUTCOMES
from tests.strategies import START_MS, lives

PYTHON_TYPES = {"int": int, "float": float, "str": str, "bool": bool}
EVERY_ACTION = (*ACTIONS, "wishlist_opened")
NOW_MS = START_MS + 7_000_000
KIND_BYTES = 12_288
"""No kind may take more than this of a customer, whatever the producers send (ASCII labels)."""

every_kind = pytest.mark.parametrize("kind", TAG_KINDS.values(), ids=TAG_KINDS.keys())


def heard(kind: type[Tag], facts: list[Fact]) -> list[Fact]:
    """The facts that a profile would hand to a tag of this kind."""
    return [
        fact
        for fact in facts
        if (
            fact.action in kind.OUTCOMES
            if fact.action in OUTCOMES
            else kind.LISTENS is None or fact.action in kind.LISTENS
        )
    ]


def folded(kind: type[Tag], facts: list[Fact]) -> Tag:
    tag = kind()
    for fact in heard(kind, facts):
        tag.apply(fact)
    return tag


def full(number: int, ts: int, label: str = "x", action: str | None = None) -> Fact:
    """A fact in which every field is set and every label is new and as long as may be."""

    def new(field: str) -> str:
        return f"{field}{number:06d}".ljust(128, label)

    dates = {"member_until_ms": NOW_MS, "payment_due_ms": NOW_MS, "signup_ms": START_MS}
    concluded = {"churn_risk": 0.5, "best_hour": 20, "gender_confidence": 0.9, "clv": 812.5}
    concluded |= {"region_confidence": 0.8, "spending_confidence": 0.75}
    numbers = {"birth_year": 1990, **dates, **concluded}
    return Fact(
        ts=ts,
        id64=number,
        seq=number,
        action=action or EVERY_ACTION[number % len(EVERY_ACTION)],
        item=new("item"),
        category=new("category"),
        brand=new("brand"),
        price=1e12 - number / 3,
        quantity=1_000_000,
        channel=("sms", "push", "email")[number % 3],
        value=1e12 - number / 3,
        consent=Consent(marketing=True, sms=False, push=True, email=False),
        traits=Traits(**{name: numbers.get(name, new(name)) for name in Traits.__struct_fields__}),
        device=Device(new("type"), new("os"), new("version")),
        location=Location(1.234567, 2.345678, 9.9, new("region"), new("city")),
    )


def full_life(first: int = 0) -> list[Fact]:
    """Everything that can happen, once on each channel."""
    actions = (*EVERY_ACTION, *OUTCOMES) * 3
    return [
        full(first + number, START_MS + number * 400_000, action=action)
        for number, action in enumerate(actions)
    ]


def assert_as_catalogued(tag: Tag, now_ms: int) -> None:
    values = tag.dimensions(now_ms)
    catalogue = type(tag).catalogue()
    assert list(values) == [dimension.name for dimension in catalogue]
    for dimension in catalogue:
        value = values[dimension.name]
        if value is not None:
            assert type(value) is PYTHON_TYPES[dimension.type], dimension.name
            assert not isinstance(value, float) or math.isfinite(value), dimension.name


@every_kind
def test_the_catalogue_names_every_dimension_of_a_customer_of_whom_nothing_is_known(
    kind: type[Tag],
) -> None:
    assert_as_catalogued(kind(), NOW_MS)


@every_kind
def test_the_catalogue_says_what_each_dimension_means(kind: type[Tag]) -> None:
    for dimension in kind.catalogue():
        assert dimension.meaning
        assert dimension.name.isascii()
        assert dimension.name.isidentifier()
        if dimension.type == "float":
            assert dimension.unit, f"{dimension.name} has no unit"
        if dimension.name.endswith(("_ms", "_s", "_days")):
            assert dimension.unit in ("ms", "s", "d")


@every_kind
def test_every_dimension_is_known_at_some_time_in_a_full_life(kind: type[Tag]) -> None:
    tag, known = kind(), set()
    for fact in heard(kind, [*full_life(), *full_life(), *full_life(len(EVERY_ACTION) + 8)]):
        tag.apply(fact)
        values = tag.dimensions(fact.ts + 1)
        known |= {name for name, value in values.items() if value is not None}
    assert known == {dimension.name for dimension in kind.catalogue()}


@settings(max_examples=30)
@given(lives())
@pytest.mark.parametrize("kind", TAG_KINDS.values(), ids=TAG_KINDS.keys())
def test_dimensions_have_the_types_of_the_catalogue_at_any_time(
    kind: type[Tag], facts: list[Fact]
) -> None:
    tag = folded(kind, facts)
    for now_ms in (START_MS - 10**12, START_MS, NOW_MS, START_MS + 10**12):
        assert_as_catalogued(tag, now_ms)


@settings(max_examples=30)
@given(lives(), st.integers(1, 30))
@pytest.mark.parametrize("kind", TAG_KINDS.values(), ids=TAG_KINDS.keys())
def test_facts_taken_in_together_make_the_tag_that_they_make_one_by_one(
    kind: type[Tag], facts: list[Fact], together: int
) -> None:
    mine, tag = heard(kind, facts), kind()
    for first in range(0, len(mine), together):
        tag.apply_all(mine[first : first + together])
    assert tag == folded(kind, facts)


@settings(max_examples=30)
@given(lives())
@pytest.mark.parametrize("kind", TAG_KINDS.values(), ids=TAG_KINDS.keys())
def test_a_tag_that_was_written_and_read_in_between_is_the_same_tag(
    kind: type[Tag], facts: list[Fact]
) -> None:
    decode = msgspec.msgpack.Decoder(kind).decode
    kept, stored = kind(), kind()
    for fact in heard(kind, facts):
        kept.apply(fact)
        stored.apply(fact)
        stored = decode(msgspec.msgpack.encode(stored))
    assert stored == kept
    assert msgspec.msgpack.encode(stored) == msgspec.msgpack.encode(kept)
    assert list(stored.dimensions(NOW_MS).items()) == list(kept.dimensions(NOW_MS).items())


@settings(max_examples=30)
@given(lives())
@pytest.mark.parametrize("kind", TAG_KINDS.values(), ids=TAG_KINDS.keys())
def test_reading_dimensions_changes_nothing(kind: type[Tag], facts: list[Fact]) -> None:
    tag = folded(kind, facts)
    before = msgspec.msgpack.encode(tag)
    for now_ms in (START_MS, NOW_MS, START_MS + 10**11):
        tag.dimensions(now_ms)
    assert msgspec.msgpack.encode(tag) == before


@settings(max_examples=30)
@given(lives())
@pytest.mark.parametrize("kind", TAG_KINDS.values(), ids=TAG_KINDS.keys())
def test_a_dimension_read_alone_is_what_it_is_among_all(kind: type[Tag], facts: list[Fact]) -> None:
    tag = folded(kind, facts)
    for now_ms in (START_MS, NOW_MS, START_MS + 10**11):
        for name, value in tag.dimensions(now_ms).items():
            assert tag.dimension(name, now_ms) == value


@every_kind
def test_a_fact_is_taken_however_late_it_comes(kind: type[Tag]) -> None:
    life = full_life()[:5]
    for order in permutations(life):
        assert_as_catalogued(folded(kind, list(order)), NOW_MS)


@every_kind
def test_a_fact_with_no_more_than_an_action_is_taken(kind: type[Tag]) -> None:
    bare = [
        Fact(START_MS, number, number, action)
        for number, action in enumerate((*EVERY_ACTION, *OUTCOMES))
    ]
    assert_as_catalogued(folded(kind, bare), NOW_MS)


@every_kind
def test_size_is_bounded_whatever_the_producers_send(kind: type[Tag]) -> None:
    tag, largest = kind(), 0
    for number in range(2_000):
        # In bursts and leaps, forwards and back.
        ts = START_MS + number * 600_000 + (number % 7) * 40_000_000
        actions = sorted(kind.LISTENS or EVERY_ACTION) if not kind.OUTCOMES else [*kind.OUTCOMES]
        tag.apply(full(number, ts, action=actions[number % len(actions)]))
        if number % 5 == 0:
            largest = max(largest, len(msgspec.msgpack.encode(tag)))
    assert largest < KIND_BYTES


@every_kind
def test_two_new_tags_share_nothing(kind: type[Tag]) -> None:
    empty = pickle.dumps(msgspec.to_builtins(kind()))
    folded(kind, full_life())
    assert pickle.dumps(msgspec.to_builtins(kind())) == empty


def test_no_two_kinds_have_a_dimension_of_the_same_name() -> None:
    names = [dimension.name for kind in TAG_KINDS.values() for dimension in kind.catalogue()]
    assert len(names) == len(set(names))
