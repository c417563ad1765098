"""A customer's state is the same whatever way it came about, and foreign bytes are refused."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.book import Book
from state.customer import TAIL_HARD, TAIL_LONG, TAIL_SOFT, Customer
from state.fact import Fact
from state.profile import SEEN_LIMIT, CorruptState, Profile
from state.tagging import TAG_KINDS
from state.tagging.recent import Recent
from tests.strategies import LATENESS_MS, START_MS, arrivals, lives, take

NOW_MS = START_MS + 10**9


def fold(facts: list[Fact]) -> Profile:
    return Profile(facts=facts)


def views(count: int, step_ms: int = 60_000, first: int = 0) -> list[Fact]:
    return [
        Fact(START_MS + number * step_ms, number, number, "view", f"i{number}", f"c{number % 3}")
        for number in range(first, first + count)
    ]


def settled(facts: list[Fact]) -> Customer:
    customer = Customer()
    take(customer, facts)
    customer.settle(facts[-1].ts + LATENESS_MS + 1, LATENESS_MS)
    return customer


def same(one: Profile, other: Profile) -> bool:
    return one.encode() == other.encode() and one.dimensions(NOW_MS) == other.dimensions(NOW_MS)


@given(lives(), st.data())
def test_any_order_of_arrival_within_the_bound_gives_the_same_profile(
    facts: list[Fact], data: st.DataObject
) -> None:
    customer = Customer()
    take(customer, data.draw(arrivals(facts)))
    assert same(customer.profile(), fold(facts))


@settings(max_examples=50)
@given(lives(max_size=80), st.data())
def test_settling_and_storing_at_any_moment_changes_nothing(
    facts: list[Fact], data: st.DataObject
) -> None:
    customer = Customer()
    for fact in data.draw(arrivals(facts)):
        doing = data.draw(st.sampled_from(["settle", "store", "read", "nothing"]))
        if doing == "settle":
            customer.settle(0, LATENESS_MS)
        elif doing == "store":
            customer = Customer.decode(customer.encode())
        elif doing == "read":
            customer.profile().tags(range(data.draw(st.integers(0, len(TAG_KINDS)))))
        if not customer.knows(fact.id64):
            customer.accept(fact)
    assert same(customer.profile(), fold(facts))


@given(st.integers(0, TAIL_LONG + 30), st.integers(0, 3), st.integers(TAIL_LONG + 8, 90))
def test_what_was_read_of_a_tail_stays_right_when_the_older_part_of_it_settles(
    read_after: int, read: int, count: int
) -> None:
    facts = views(count, step_ms=LATENESS_MS // 10)
    customer = Customer()
    for number, fact in enumerate(facts):
        if customer.settles(fact.ts, LATENESS_MS):
            customer.settle(fact.ts, LATENESS_MS)
        customer.accept(fact)
        if number == read_after:
            customer.profile().tags(range(0, len(TAG_KINDS), read + 1))
    assert 0 < len(customer.tail) < count  # a part of it has settled
    assert same(customer.profile(), fold(facts))


@given(lives(), st.data())
def test_after_everything_has_settled_the_bytes_are_the_same(
    facts: list[Fact], data: st.DataObject
) -> None:
    arrived, ordered = Customer(), Customer()
    take(arrived, data.draw(arrivals(facts)))
    take(ordered, facts)
    for customer in (arrived, ordered):
        for fact in views(TAIL_SOFT, 10**7, first=10**4):  # long after
            customer.accept(fact)
        customer.settle(10**14, LATENESS_MS)
        assert not customer.tail
    assert arrived.base == ordered.base


@given(lives(), st.data())
def test_every_accepted_fact_is_known_and_no_other(facts: list[Fact], data: st.DataObject) -> None:
    customer = Customer()
    take(customer, data.draw(arrivals(facts)))
    customer = Customer.decode(customer.encode())
    assert all(customer.knows(fact.id64) for fact in facts)
    assert customer.book.revision == len(facts)
    assert not customer.knows(1)


@given(lives())
def test_what_was_encoded_is_decoded(facts: list[Fact]) -> None:
    customer = Customer()
    take(customer, facts)
    data = customer.encode()
    again = Customer.decode(data)
    assert again.tail == customer.tail
    assert again.book == customer.book
    assert again.encode() == data
    assert Customer(again.base, again.tail, again.book).encode() == data


def test_a_fact_of_the_horizon_itself_is_still_put_in_its_place() -> None:
    early = Fact(START_MS, 7, 1, "cart", "i1")
    same_instant_but_first = Fact(START_MS, 3, 99, "view", "i2")
    later = [
        Fact(START_MS + LATENESS_MS, 100 + number, number, "view") for number in range(TAIL_LONG)
    ]
    customer = Customer()
    take(customer, [early, *later])
    customer.settle(START_MS + LATENESS_MS, LATENESS_MS)
    assert not customer.is_late(START_MS, LATENESS_MS)
    customer.accept(same_instant_but_first)
    assert same(customer.profile(), fold([same_instant_but_first, early, *later]))


def test_a_fact_later_than_the_bound_is_taken_without_failing() -> None:
    customer = settled(views(TAIL_SOFT))
    assert customer.base
    late = Fact(START_MS - 10**9, 999, 99, "purchase", "i0", price=3.0)
    assert customer.is_late(late.ts, LATENESS_MS)
    customer.accept(late)
    assert customer.profile().dimensions(NOW_MS)["purchase_count_total"] == 1
    assert same(Customer.decode(customer.encode()).profile(), customer.profile())


def test_ids_of_settled_facts_are_remembered_up_to_the_window() -> None:
    facts = views(SEEN_LIMIT + 3 * TAIL_SOFT)
    customer = settled(facts)
    assert not customer.tail
    known = [fact.id64 for fact in facts if customer.knows(fact.id64)]
    assert known == [fact.id64 for fact in facts[-SEEN_LIMIT:]]


def test_an_id_that_lies_across_two_remembered_ones_is_not_known() -> None:
    first, second = 0x0102030405060708, 0x1112131415161718
    facts = [
        Fact(START_MS + place, digest, place, "view")
        for place, digest in enumerate([first, second, *range(TAIL_SOFT)])
    ]
    customer = settled(facts)
    packed = first.to_bytes(8, "little") + second.to_bytes(8, "little")
    assert packed in customer.base
    assert customer.knows(second)
    assert not any(
        customer.knows(int.from_bytes(packed[shift : shift + 8], "little")) for shift in range(1, 8)
    )


@given(lives(), st.data())
def test_recent_events_are_counted_alike_whether_they_are_folded_or_not(
    facts: list[Fact], data: st.DataObject
) -> None:
    customer = Customer()
    for fact in data.draw(arrivals(facts)):
        take(customer, [fact])
        if data.draw(st.booleans()):
            customer.profile()
        actions = data.draw(st.sampled_from([None, frozenset({"view", "cart"})]))
        item = data.draw(st.sampled_from([None, "i1"]))
        window = fact.ts - data.draw(st.sampled_from([0, 60_000, 10**9])), fact.ts
        counted = customer.count_recent(actions, *window, item=item)
        folded = Customer(customer.base, list(customer.tail)).profile().tag(Recent)
        assert counted == folded.matches(actions, *window, item=item)


def test_the_tail_stays_bounded_when_nothing_ever_settles() -> None:
    customer = Customer()
    for fact in views(3 * TAIL_HARD, step_ms=0):
        customer.settle(0, LATENESS_MS)
        customer.accept(fact)
        assert len(customer.tail) <= TAIL_HARD + TAIL_SOFT
    assert customer.profile().dimensions(NOW_MS)["view_count_total"] == 3 * TAIL_HARD


def sample() -> bytes:
    customer = settled(views(40))
    take(customer, views(5, first=50))
    customer.book.record_spoken("summer", START_MS)
    return customer.encode()


def test_every_flipped_bit_of_the_header_is_refused() -> None:
    data = sample()
    for bit in range(16 * 8):
        mutant = bytearray(data)
        mutant[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptState):
            Customer.decode(bytes(mutant))


def test_state_that_is_cut_or_has_a_tail_is_refused() -> None:
    data = sample()
    for length in range(len(data)):
        with pytest.raises(CorruptState):
            Customer.decode(data[:length])
    with pytest.raises(CorruptState, match="has a tail"):
        Customer.decode(data + b"\x00")


def test_four_hundred_mutants_are_refused_or_keep_their_lengths() -> None:
    data, random_ = sample(), random.Random(20)
    lengths = data[4:16]
    refused = 0
    for _ in range(400):
        mutant = bytearray(data)
        for _ in range(random_.randint(1, 4)):
            mutant[random_.randrange(len(mutant))] = random_.randrange(256)
        if random_.random() < 0.3:
            at = random_.randrange(len(mutant))
            del mutant[at : at + random_.randint(1, 9)]
        if bytes(mutant) == data:
            continue
        try:
            customer = Customer.decode(bytes(mutant))
            Customer(customer.base).profile()
        except CorruptState:
            refused += 1
        else:
            assert mutant[4:16] == lengths
            assert len(mutant) == len(data)
    assert refused > 100


def test_a_refusal_says_what_was_found() -> None:
    with pytest.raises(CorruptState, match="3 bytes"):
        Customer.decode(b"BKC")
    with pytest.raises(CorruptState, match="reads version 1"):
        Customer.decode(b"BKC\x02" + bytes(12))
    with pytest.raises(CorruptState, match="profile does not decode"):
        Customer(b"\x00\x00\xc1").profile().dimensions(NOW_MS)


def test_a_new_customer_has_neither_facts_nor_sends() -> None:
    customer = Customer()
    assert customer.book == Book()
    assert customer.profile().dimensions(NOW_MS)["tempo_events_total"] == 0
    assert Customer.decode(customer.encode()).encode() == customer.encode()
