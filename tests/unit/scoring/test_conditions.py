"""The laws of the condition language, and what it says to people who slip."""

from __future__ import annotations

import operator
from contextlib import suppress

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas.event import Device, Location
from scoring.conditions import ConditionError, View, audience, when
from scoring.conditions.meaning import everybody, nobody
from scoring.conditions.names import of_event, of_profile
from scoring.conditions.syntax import (
    MAX_DEPTH,
    Among,
    And,
    Compare,
    Known,
    Not,
    Or,
    Value,
    parse,
)
from state.fact import Fact
from state.profile import Profile, catalogue
from state.tagging import TAG_KINDS
from state.tagging.traits import Traits
from tests.strategies import START_MS, lives

NUMBERS = ("price", "amount", "quantity")
WORDS = ("item_category", "brand", "device.type", "location.city")
OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_number = st.sampled_from(["0", "1", "2", "2.5", "7", "-3"]).map(lambda n: Value("number", n))
_word = st.sampled_from(["shoes", "Ace", "phone", "Oslo"]).map(lambda w: Value("word", w))
_quoted = st.sampled_from(["shoes", "New York", "it's", "and", ""]).map(
    lambda t: Value("quoted", t)
)
_text = _word | _quoted
_phrases = st.one_of(
    st.builds(Compare, st.sampled_from(NUMBERS), st.sampled_from([*OPERATORS]), _number),
    st.builds(Compare, st.just("price"), st.sampled_from([*OPERATORS]),
              st.just(Value("word", "amount"))),
    st.builds(Compare, st.sampled_from(WORDS), st.sampled_from(["=", "!="]), _text),
    st.builds(Among, st.sampled_from(WORDS), st.lists(_text, min_size=1, max_size=3).map(tuple)),
    st.builds(Among, st.sampled_from(NUMBERS),
              st.lists(_number, min_size=1, max_size=3).map(tuple)),
    st.builds(Known, st.sampled_from(NUMBERS + WORDS)),
)  # fmt: skip
trees = st.recursive(
    _phrases,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)
facts = st.builds(
    Fact,
    ts=st.just(START_MS),
    id64=st.just(1),
    seq=st.just(1),
    action=st.just("view"),
    category=st.sampled_from([None, "shoes", "Ace", "New York"]),
    brand=st.sampled_from([None, "Ace", "it's", ""]),
    price=st.sampled_from([None, 0.0, 1.0, 2.0, 2.25, 2.5, 7.0, 9.0]),
    quantity=st.sampled_from([None, 0, 1, 2, 3]),
    device=st.sampled_from([None, Device(), Device("phone")]),
    location=st.sampled_from([None, Location(1, 2), Location(1, 2, city="Oslo")]),
)


def values_of(fact: Fact) -> dict[str, object]:
    return {
        "price": fact.price,
        "quantity": fact.quantity,
        "amount": None
        if fact.price is None
        else fact.price * (1 if fact.quantity is None else fact.quantity),
        "item_category": fact.category,
        "brand": fact.brand,
        "device.type": fact.device and fact.device.type,
        "location.city": fact.location and fact.location.city,
    }


def naive(tree, fact: Fact) -> bool:
    """What a condition means, as slowly and plainly as it can be said."""
    values = values_of(fact)
    match tree:
        case Not(part):
            return not naive(part, fact)
        case And(parts):
            return all([naive(part, fact) for part in parts])
        case Or(parts):
            return any([naive(part, fact) for part in parts])
        case Known(name):
            return values[name] is not None
        case Among(name, wanted):
            return any(naive(Compare(name, "=", value), fact) for value in wanted)
    left, right = values[tree.name], tree.value.text
    if right == "amount":
        right = values["amount"]
    elif tree.name in NUMBERS:
        right = float(right)
    if left is None or right is None:
        return tree.operator == "!="
    return OPERATORS[tree.operator](left, right)


@given(trees)
def test_the_text_of_a_tree_parses_to_the_tree(tree):
    assert parse(str(tree)) == tree


@given(trees, facts)
def test_a_compiled_condition_means_what_it_says(tree, fact):
    assert when(str(tree)).holds(fact) is naive(tree, fact)


@given(trees, trees, facts)
def test_not_and_or_keep_the_laws_of_logic(one, other, fact):
    def holds(tree):
        return when(str(tree)).holds(fact)

    assert holds(Not(Not(one))) is holds(one)
    assert holds(Not(And((one, other)))) is holds(Or((Not(one), Not(other))))
    assert holds(And((one, other))) is holds(And((other, one)))
    assert holds(Or((one, Not(one)))) is True


@given(trees, facts)
def test_what_nobody_can_fit_is_fitted_by_nobody(tree, fact):
    condition = when(str(tree))
    if nobody(condition.tree) is not None:
        assert not condition.holds(fact)
    if everybody(condition.tree):
        assert condition.holds(fact)


@given(trees, st.sampled_from(NUMBERS), st.sampled_from(["0", "1", "2.5"]))
def test_a_contradiction_is_found_wherever_it_stands(tree, name, number):
    never = f"{name} > {number} and not {name} >= {number}"
    assert nobody(when(f"({tree}) and {never}").tree) is not None
    assert nobody(when(f"{never} and ({tree})").tree) is not None
    assert everybody(when(f"({tree}) or not ({never})").tree)


@given(trees, facts)
def test_a_condition_that_fails_says_what_failed(tree, fact):
    condition = when(str(tree))
    assert bool(condition.why_not(fact)) is not condition.holds(fact)


@given(st.text(alphabet="abk()[]<>=!,.'\"%15 -_$", max_size=40) | st.text(max_size=40))
def test_any_text_is_a_condition_or_a_sentence(text):
    with suppress(ConditionError):
        condition = audience(text)
        assert condition is None or not condition.holds(View(Profile(), START_MS)) or condition


_language = st.sampled_from([*"<>=[](),", "price", "5", "and", "or", "not", "in", "is", "known"])


@given(st.lists(_language))
def test_any_words_of_the_language_are_a_condition_or_a_sentence(words):
    with suppress(ConditionError):
        condition = when(" ".join(words))
        if condition is not None:
            condition.holds(Fact(START_MS, 1, 1, "view"))


@settings(max_examples=40, deadline=None)
@given(lives())
def test_every_dimension_stays_within_the_range_that_its_name_states(life):
    profile = Profile(b"", life)
    now_ms = life[-1].ts if life else START_MS
    view = View(profile, now_ms)
    # Without the night's segmentation only the night's own word is known.
    expected = {**profile.dimensions(now_ms), "segment": profile.tag(Traits).get("segment")}
    for name in of_profile().names.values():
        value = name.get(view)
        assert value == expected[name.name]
        if value is None:
            continue
        if name.type == "number":
            assert name.low is None or value >= name.low, name.name
            assert name.high is None or value <= name.high + 1e-9, name.name
            assert not name.whole or value == int(value), name.name
        assert not name.words or value in name.words, name.name


def test_the_vocabulary_of_an_audience_is_the_catalogue_and_the_segment():
    catalogued = [dimension.name for dimension in catalogue()]
    assert list(of_profile().names) == [*catalogued, "segment"]


def test_a_condition_reads_a_kind_of_tag_only_when_it_asks_for_it_and_only_once():
    asked = []

    class Watched(Profile):
        def tag(self, kind):
            asked.append(kind)
            return super().tag(kind)

    view = View(Watched(), START_MS)
    audience("consent_push and cart_open_count > 0").holds(view)
    assert asked == [TAG_KINDS["consent"]]
    audience("cart_open_count > 0 or consent_marketing or cart_open_value > 1").holds(view)
    assert asked == [TAG_KINDS["consent"], TAG_KINDS["carts"]]


@pytest.mark.parametrize(
    ("text", "fits", "fails"),
    [
        ("last_action_age_s < 30m", [0, 1_799], [1_800]),
        ("last_action_age_s >= 1h", [3_600], [3_599.9]),
        ("tempo_known_days > 36h", [1.6], [1.5]),
        ("habit_night_share >= 20%", [0.2, 1], [0.19]),
        ("trait_signup_ms < 2023-11-14", [1_699_919_999_999], [1_699_920_000_000]),
        ("trait_signup_ms >= 2023-11-14T22:13:20Z", [1_700_000_000_000], [1_699_999_999_999]),
        ("trait_signup_ms >= 2023-11-15T06:13:20+08:00", [1_700_000_000_000], [0]),
        ("category_1 in [4756105, 'gift cards', B-1]", ["4756105", "gift cards", "B-1"], ["B"]),
        ("location_lat > -33.5", [-33, 0], [-33.5]),
        ("consent_push = false", [False], [True]),
    ],
)
def test_values_are_read_in_the_unit_of_their_name(text, fits, fails):
    condition = audience(text)
    assert [condition.tree.holds(value) for value in fits] == [True] * len(fits)
    assert not any(condition.tree.holds(value) for value in (*fails, None))


def test_nothing_at_all_is_no_condition():
    assert audience("") is None
    assert when(" \n") is None


def test_parentheses_up_to_the_bound_are_read_and_more_are_refused():
    deep = "(" * MAX_DEPTH + "price > 5" + ")" * MAX_DEPTH
    assert when(deep).holds(Fact(START_MS, 1, 1, "view", price=6.0))
    with pytest.raises(ConditionError, match="more than 32 parentheses"):
        when(f"({deep})")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rfm_monetry_90d > 5", "the profile has no `rfm_monetry_90d`; did you mean rfm_monetary"),
        ("zzz > 5", "`beckon campaigns names` lists what there is"),
        ("price > 5", "it belongs to the event: move it to `when`"),
        ("cart_open_count == 5", "write `=` where it says `==`"),
        ("consent_push AND consent_sms", "write `and` where it says `AND`"),
        ("consent_push && consent_sms", "write `and` where it says `&&`"),
        ("cart_open_count > lots", "a number of items: compare it with a plain number, not lots"),
        ("session_length_s > 20%", "in seconds: write a time such as 30m"),
        ("habit_night_share > 5m", "from 0 to 1: write a share such as 20%"),
        ("trait_signup_ms > 5d", "a moment: write a date such as 2026-11-01"),
        ("trait_signup_ms > 2026-13-01", "`2026-13-01` is no date"),
        ("trait_city > 5", "`>` is for numbers, and `trait_city` is text"),
        ("trait_city", "say what to compare it with, such as `trait_city = something`"),
        ("cart_open_count", "such as `cart_open_count >= 3`"),
        ("consent_push = yes", "`consent_push` is true or false, not yes"),
        ("trait_city = New York", "text of several words stands in quotes"),
        ("trait_city = 'Oslo", "the quote that opens at `'Oslo` is not closed"),
        ("trait_city in Oslo", "after `trait_city in` comes a list"),
        ("trait_city in [Oslo", "expected `,` or `]` at the end"),
        ("trait_city is Oslo", "after `trait_city is` comes `known` or `not known`"),
        ("trait_city not Oslo", "after `trait_city not` comes `in [...]`"),
        ("trait_city =", "expected a value after `trait_city =`"),
        ("(consent_push", "expected `)` at the end"),
        ("consent_push)", "there is a `)` that nothing opened"),
        ("consent_push and", "expected a name at the end"),
        ("consent_push and or consent_sms", "expected a name before `or`"),
        ("$push", "cannot read `$push`"),
        ("view_count_1h > session_length_s", "cannot be compared with"),
    ],
)
def test_a_slip_is_answered_by_what_to_write(text, sentence):
    with pytest.raises(ConditionError) as refused:
        audience(text)
    assert sentence in refused.value.detail


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "cart_open_count > 5 and consent_push and cart_open_count < 3",
            "`cart_open_count > 5` and `cart_open_count < 3` cannot hold at once",
        ),
        (
            "cart_open_count > 5 and cart_open_count < 6",
            "`cart_open_count > 5` and `cart_open_count < 6` cannot hold at once",
        ),
        ("habit_night_share > 2", "habit_night_share is at least 0, at most 1"),
        ("habit_favourite_weekday = sunday", "habit_favourite_weekday is one of mon, tue"),
        ("trait_age_years = 1.5", "trait_age_years is a whole number"),
        ("consent_push and not consent_push", "`consent_push` and `not consent_push` cannot hold"),
        ("trait_city = Oslo and trait_city = Bergen", "cannot hold at once"),
    ],
)
def test_an_audience_of_nobody_is_told_with_its_reason(text, reason):
    assert reason in nobody(audience(text).tree)


@pytest.mark.parametrize(
    "text",
    [
        "trait_age_years is known",
        "cart_open_value > 5 and cart_open_value < 6",
        "cart_open_count > 5 and cart_open_count < 7",
        "trait_city != Oslo and trait_city is not known",
        "price_viewed_mean > price_bought_mean and price_viewed_mean < 1",
        " or ".join(["(consent_push and consent_sms and consent_email)"] * 40),
    ],
)
def test_an_audience_that_somebody_may_fit_is_not_called_empty(text):
    assert nobody(audience(text).tree) is None


def test_a_condition_too_tangled_to_judge_is_not_judged():
    tangled = " and ".join(f"(cart_open_count = {n} or consent_push)" for n in range(12))
    assert nobody(audience(f"{tangled} and not consent_push").tree) is None


def test_why_not_names_the_first_part_that_fails_and_what_it_saw():
    condition = when("price >= 5 and brand = Ace")
    fact = Fact(START_MS, 1, 1, "view", price=7.5)
    assert condition.why_not(fact) == "`brand = Ace` fails (brand is unknown)"


@given(trees)
def test_conditions_of_equal_text_are_one_object(tree):
    assume(str(tree).strip())
    assert when(str(tree)) is when(str(tree))


def test_the_fields_of_an_event_are_read_by_the_names_of_the_contract():
    assert {"item_id", "item_category", "brand", "price", "device.os"} <= of_event().names.keys()
