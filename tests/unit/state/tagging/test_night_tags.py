"""What the night concludes of a customer changes what is known, and is nothing that they did."""

from __future__ import annotations

from itertools import permutations

import pytest

from schemas.event import TAGS, Traits
from scoring.campaigns.base import among
from state.customer import Customer
from state.fact import Fact
from tests.facts import DAY, MONDAY, fact


def after_the_night(*facts: Fact) -> dict[str, object]:
    customer = Customer()
    for each in facts:
        customer.accept(each)
    return customer.profile().dimensions(MONDAY + 2 * DAY)


CONCLUDED = Traits(
    segment="champions", churn_risk=0.25, best_hour=20, clv=812.5, interests="tea books"
)


def test_the_nights_tags_are_dimensions_of_the_profile():
    values = after_the_night(fact("view"), fact(TAGS, DAY, traits=CONCLUDED))
    for name in ("segment", "churn_risk", "best_hour", "clv", "interests"):
        assert values[f"trait_{name}"] == getattr(CONCLUDED, name)


def test_the_nights_tags_are_no_activity():
    day, night = fact("view"), fact(TAGS, DAY, traits=CONCLUDED)
    before, then = after_the_night(day), after_the_night(day, night)
    changed = {name for name in then if then[name] != before[name]}
    assert changed == {
        f"trait_{name}" for name in ("segment", "churn_risk", "best_hour", "clv", "interests")
    }


def test_a_later_nights_tags_replace_an_earlier_ones_whatever_the_order_of_arrival():
    first = fact(TAGS, 1, traits=Traits(segment="regulars", clv=10.0))
    second = fact(TAGS, 2, traits=Traits(segment="champions"))
    for order in ((first, second), (second, first)):
        values = after_the_night(*order)
        assert (values["trait_segment"], values["trait_clv"]) == ("champions", 10.0)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_what_a_night_takes_back_is_known_no_more_until_it_is_said_again(order):
    facts = [
        fact(TAGS, 1, traits=CONCLUDED),
        fact(TAGS, 2, traits=Traits(churn_risk=0.5, gone="segment best_hour")),
        fact(TAGS, 3, traits=Traits(best_hour=7)),
    ]
    values = after_the_night(*(facts[place] for place in order))
    assert values["trait_segment"] is None
    assert (values["trait_churn_risk"], values["trait_best_hour"]) == (0.5, 7)
    assert values["trait_clv"] == CONCLUDED.clv


def test_nobody_takes_back_what_a_customer_said_of_themselves():
    said = fact("login", 1, traits=Traits(city="Oslo"))
    values = after_the_night(said, fact(TAGS, 2, traits=Traits(gone="city nonsense")))
    assert values["trait_city"] == "Oslo"


@pytest.mark.parametrize("action", ["view", "purchase", "wishlist_opened"])
def test_a_campaign_for_any_action_hears_the_customer_and_not_the_night(action):
    assert among(action, None)
    assert not among(TAGS, None)
    assert among(TAGS, frozenset({TAGS}))
