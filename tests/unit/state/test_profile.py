"""A profile has at least two hundred dimensions and a bounded size."""

from __future__ import annotations

import random

import pytest

from state.fact import Fact
from state.profile import SEEN_LIMIT, CorruptState, Profile, catalogue, has_seen
from state.tagging.consent import Consent
from state.tagging.recent import Recent
from tests.contracts.test_tag_kinds import EVERY_ACTION, OUTCOMES, full
from tests.strategies import START_MS

WORST_BYTES = 32_768
WORST_BYTES_OF_FOUR_BYTE_SIGNS = 98_304
TYPICAL_BYTES = 2_560


def test_there_are_two_hundred_dimensions_and_more() -> None:
    assert len(catalogue()) >= 200


def test_dimensions_are_those_of_the_catalogue_in_its_order() -> None:
    assert [dimension.name for dimension in catalogue()] == list(Profile().dimensions(START_MS))


@pytest.mark.parametrize(
    ("label", "limit"), [("x", WORST_BYTES), ("😀", WORST_BYTES_OF_FOUR_BYTE_SIGNS)]
)
def test_five_thousand_adversarial_facts_stay_within_the_limit(label: str, limit: int) -> None:
    facts: list[Fact] = []
    profile, largest = Profile(facts=facts), 0
    actions = (*EVERY_ACTION, "cart", "cart", "purchase", *OUTCOMES)
    for number in range(5_000):
        ts = START_MS + number * 50_000 + (number // 40 % 9) * 86_400_000
        facts.append(full(number, ts, label, actions[number % len(actions)]))
        if len(facts) == 16:
            largest = max(largest, len(profile.settle()))
            facts.clear()
    assert largest < limit
    assert Profile(profile.encode()).encode() == profile.encode()


def test_a_typical_customer_takes_little() -> None:
    chance = random.Random(5)
    facts: list[Fact] = []
    ts = START_MS
    for number in range(SEEN_LIMIT // 2):
        ts += int(chance.expovariate(1 / 1_800_000))
        action = chance.choices(("view", "cart", "purchase", "search"), (80, 8, 4, 8))[0]
        item, category, brand = (f"{k}{chance.randrange(12)}" for k in ("item", "cat", "brand"))
        facts.append(Fact(ts, chance.getrandbits(64), number, action, item, category, brand, 9.5))
    assert len(Profile(facts=facts).encode()) < TYPICAL_BYTES


def test_a_tag_is_found_by_its_kind() -> None:
    profile = Profile(facts=[Fact(START_MS, 1, 1, "view", "i1")])
    assert profile.tag(Recent).items == ["i1"]
    assert isinstance(profile.tag(Consent), Consent)


def test_an_outcome_changes_no_tag_that_is_about_what_customers_do() -> None:
    profile = Profile(facts=[Fact(START_MS, 1, 1, "clicked", channel="sms")])
    values = profile.dimensions(START_MS)
    assert values["sms_clicked_count"] == 1
    assert values["tempo_events_total"] == 0
    assert values["last_action"] is None


def test_an_encoded_profile_tells_which_ids_it_has_seen() -> None:
    facts = [Fact(START_MS, digest, 1, "view") for digest in range(3 * SEEN_LIMIT)]
    data = Profile(facts=facts).encode()
    assert has_seen(data, 3 * SEEN_LIMIT - 1)
    assert has_seen(data, 2 * SEEN_LIMIT)
    assert not has_seen(data, 2 * SEEN_LIMIT - 1)
    assert not has_seen(Profile().encode(), 0)


@pytest.mark.parametrize("data", [b"\x01", b"\x08\x00", b"\x00\x00\x90", b"\x00\x00\xc1"])
def test_bytes_that_are_no_profile_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptState):
        Profile(data).dimensions(START_MS)
