"""Laws of joining customers: order never matters, counters add up, consent never loosens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobs.archive.identity import MOST_HOLDERS, customer_of, keys_of
from jobs.archive.people import Agreed, Person, merge, spoken_to, stricter, withdrawn
from schemas.event import Consent, Traits
from schemas.outcome import CHANNELS
from state.tagging.consent import PURPOSES

SECRET = b"s"
purposes = st.frozensets(st.sampled_from(PURPOSES))
agreements = st.builds(Agreed, st.none() | purposes, purposes)
arms = st.dictionaries(
    st.sampled_from(["spring", "price"]), st.tuples(st.integers(0, 5), st.sampled_from("ab"))
)
people = st.builds(
    Person,
    st.frozensets(st.text("uv0123", min_size=1, max_size=3)),
    st.dictionaries(st.sampled_from(["view", "cart", "purchase"]), st.integers(1, 99)),
    agreements,
    arms,
)
rows = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans(), st.sampled_from("123456")))


@given(people, people, people)
def test_it_does_not_matter_in_which_order_people_are_merged(one, two, three):
    assert merge(one, two) == merge(two, one)
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(people, people)
def test_a_merge_adds_counters_and_keeps_the_older_arm(one, two):
    both = merge(one, two)
    for action in ("view", "cart", "purchase"):
        assert both.actions.get(action, 0) == (
            one.actions.get(action, 0) + two.actions.get(action, 0)
        )
    for experiment, arm in both.arms.items():
        given_ = [side.arms[experiment] for side in (one, two) if experiment in side.arms]
        assert arm in given_
        assert arm[0] == min(at_ms for at_ms, _ in given_)
    assert set(both.arms) == set(one.arms) | set(two.arms)


@given(agreements, agreements)
def test_consent_never_loosens_by_a_merge(one, two):
    both = stricter(one, two)
    for channel in CHANNELS:
        if both.allows(channel):
            assert one.allows(channel) or two.allows(channel)
            for side in (one, two):
                assert side.yes is None or side.allows(channel)
                assert not side.no & {"marketing", channel}
    assert stricter(both, one) == stricter(both, two) == both


@given(agreements, agreements)
def test_after_what_is_withdrawn_an_id_allows_no_more_than_its_customer(one, two):
    whole = stricter(one, two)
    taken = withdrawn(one, whole)
    left = Agreed(one.yes, one.no | taken)
    for channel in CHANNELS:
        assert whole.allows(channel) or not left.allows(channel)
    assert not withdrawn(left, whole)
    assert not withdrawn(one, one)


def test_two_that_agree_are_still_allowed_and_who_said_nothing_changes_nothing():
    yes = Agreed(frozenset({"marketing", "sms"}))
    assert stricter(yes, yes).allows("sms")
    assert stricter(yes, Agreed()) == yes
    assert not stricter(yes, Agreed(no=frozenset({"sms"}))).allows("sms")
    assert not stricter(yes, Agreed(frozenset({"marketing"}))).allows("sms")


def test_an_agreement_given_to_another_party_is_none_given_to_us():
    said = Consent(marketing=True, sms=False)
    assert spoken_to(said, "first") == said
    assert spoken_to(said, "third") == Consent(sms=False)
    assert spoken_to(Consent(push=True), "second") is None
    assert spoken_to(None, "third") is None


@given(rows, st.randoms())
def test_who_is_whom_does_not_depend_on_the_order_of_the_rows(held, random):
    again = [*held, *held]
    random.shuffle(again)
    assert customer_of(again) == customer_of(held)


@given(rows)
def test_ids_that_share_a_key_are_one_customer(held):
    found = customer_of(held)
    ours = {user for user, own, _ in held if own}
    for key in {key for _, _, key in held}:
        users = {user for user, _, of in held if of == key}
        if 1 < len(users) <= MOST_HOLDERS:
            assert len({found[user] for user in users}) == 1
    for customer in found.values():
        group = {user for user, one in found.items() if one == customer}
        assert len(group) > 1
        assert customer == min(group & ours or group)


def test_a_chain_of_keys_joins_and_a_key_of_many_joins_nobody():
    chain = [("p:1", False, "mail"), ("p:1", False, "phone"), ("q:1", False, "phone"),
             ("u1", True, "mail")]  # fmt: skip
    assert customer_of(chain) == dict.fromkeys(("p:1", "q:1", "u1"), "u1")
    crowd = [(f"u{n}", True, "hotline") for n in range(MOST_HOLDERS + 1)]
    assert customer_of(crowd) == {}


def test_one_address_or_number_is_known_in_all_its_spellings_and_a_masked_one_in_none():
    one = keys_of(Traits(email=" Jen.Doe@Shop.example", phone="+86 138-1234-5678"), SECRET)
    assert one == keys_of(Traits(email="jen.doe@shop.example", phone="008613812345678"), SECRET)
    assert set(one) == {"email", "phone"}
    assert one != keys_of(Traits(email="jen.doe@shop.example", phone="+8613812345678"), b"other")
    assert keys_of(Traits(email="j***@shop.example", phone="+86 138****5678"), SECRET) == {}
    assert keys_of(Traits(email="none", phone="12345"), SECRET) == keys_of(None, SECRET) == {}
