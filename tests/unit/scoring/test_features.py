from __future__ import annotations

import json
import random
from math import isfinite, log, log1p
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.control import AbsenceTrigger, Campaign, EventTrigger
from schemas.decision import Offer
from schemas.event import ACTIONS, Traits
from schemas.outcome import CHANNELS
from scoring.features import (
    BOUND,
    BUCKETS,
    FEATURE_HASH,
    FEATURES,
    MEANING,
    campaign_features,
    customer_features,
)
from state.fact import Fact
from state.profile import Profile

NOW = 1_790_000_000_000
GOLDEN = Path(__file__).parents[2] / "goldens" / "features"

AT_ONCE = Campaign(
    id="on-cart",
    version=1,
    name="On cart",
    trigger=EventTrigger(("cart",)),
    channels=("sms",),
    offer=Offer("discount", 0.2),
)
WAITING = Campaign(
    id="cart-abandonment",
    version=1,
    name="Cart abandonment",
    trigger=AbsenceTrigger(("cart",), ("purchase",), 3_600_000),
    channels=("push",),
)


def fact(number: int, ts: int, action: str, **fields: object) -> Fact:
    return Fact(ts, number, number, action, **fields)  # type: ignore[arg-type]


def folded(*facts: Fact) -> Profile:
    profile = Profile(facts=facts)
    return profile


def named(
    profile: Profile,
    campaign: Campaign = AT_ONCE,
    item: str | None = None,
    category: str | None = None,
    brand: str | None = None,
    price: float | None = None,
    now_ms: int = NOW,
) -> dict[str, float]:
    part = customer_features(profile, now_ms)
    vector = campaign_features(part, profile, campaign, item, category, brand, price, now_ms)
    return dict(zip(FEATURES, vector, strict=True))


def test_every_feature_has_a_name_of_its_own_and_a_meaning() -> None:
    assert len(set(FEATURES)) == len(FEATURES) == 32 + BUCKETS
    assert all(MEANING[name] for name in FEATURES)


def test_the_customers_part_is_the_start_of_the_vector_and_stays_as_it_is() -> None:
    profile = folded(fact(1, NOW, "view", item="i", category="shoes", price=20.0))
    part = customer_features(profile, NOW)
    kept = list(part)
    vector = campaign_features(part, profile, AT_ONCE, "i", "shoes", None, 20.0, NOW)
    assert vector[: len(part)] == part == kept


def test_a_customer_of_whom_nothing_is_known_has_neutral_features() -> None:
    values = named(Profile())
    assert values["events_log"] == values["orders_log"] == values["hour_habit"] == 0.0
    assert values["order_age_days_log"] == pytest.approx(log1p(365))
    assert values["message_click_log_odds"] == pytest.approx(log(0.5 / 9.5))
    assert values["bought_to_viewed_log"] == values["price_to_usual_log"] == 0.0


def test_counts_ratios_and_ages_are_read_off_the_profile() -> None:
    day = 86_400_000
    values = named(
        folded(
            fact(1, NOW - 2 * day, "view", item="a", price=10.0),
            fact(2, NOW - 2 * day + 1, "cart", item="a", price=10.0),
            fact(3, NOW - 2 * day + 2, "purchase", item="a", price=40.0, quantity=2),
            fact(4, NOW - 60_000, "view", item="b", price=30.0),
        )
    )
    assert values["events_log"] == pytest.approx(log1p(4))
    assert values["idle_minutes_log"] == pytest.approx(log1p(1))
    assert values["session_events_log"] == pytest.approx(log1p(1))
    assert values["cart_per_view"] == pytest.approx(1.5 / 8)
    assert values["orders_log"] == pytest.approx(log1p(1))
    assert values["order_age_days_log"] == pytest.approx(log1p(2), abs=1e-6)
    assert values["order_mean_log"] == pytest.approx(log1p(80))
    assert values["bought_to_viewed_log"] == pytest.approx(log(40 / 20))


def test_messages_that_were_clicked_raise_the_odds_and_ignored_ones_lower_them() -> None:
    delivered = [
        fact(n, NOW + n, "delivered", channel="sms", campaign="on-cart") for n in range(10)
    ]
    clicked = fact(20, NOW + 20, "clicked", channel="sms", campaign="on-cart")
    unknown = named(Profile())["message_click_log_odds"]
    ignored = named(folded(*delivered))["message_click_log_odds"]
    answered = named(folded(*delivered, clicked))["message_click_log_odds"]
    assert ignored < unknown < answered
    assert answered == pytest.approx(log(1.5 / 18.5))


@pytest.mark.parametrize(
    ("level", "rank"),
    [(None, 0), ("", 0), ("guest", 0), ("Gold", 3), ("diamond", 5), ("V2", 2), ("L" + "9" * 99, 8)],
)
def test_a_member_level_counts_by_its_usual_name_or_its_number(
    level: str | None, rank: float
) -> None:
    values = named(folded(fact(1, NOW, "login", traits=Traits(member_level=level))))
    assert values["member_rank"] == rank


def test_the_item_is_measured_by_what_the_customer_is_inclined_to() -> None:
    profile = folded(
        fact(1, NOW - 3_000, "view", item="a", category="shoes", brand="x", price=20.0),
        fact(2, NOW - 2_000, "view", item="a", category="shoes", brand="x", price=20.0),
        fact(3, NOW - 1_000, "view", item="b", category="hats", brand="y", price=20.0),
    )
    values = named(profile, item="a", category="shoes", brand="y", price=10.0)
    assert values["item_touches_log"] == pytest.approx(log1p(2))
    assert values["category_share"] == pytest.approx(2 / 3, abs=1e-4)
    assert values["brand_share"] == pytest.approx(1 / 3, abs=1e-4)
    assert values["price_log"] == pytest.approx(log1p(10))
    assert values["price_to_usual_log"] == pytest.approx(log(10 / 20))


def test_a_campaign_brings_its_offer_its_patience_and_its_bucket() -> None:
    at_once, waiting = named(Profile(), AT_ONCE), named(Profile(), WAITING)
    assert (at_once["discount_ratio"], waiting["discount_ratio"]) == (0.2, 0.0)
    assert at_once["discount_for_bargainer"] == pytest.approx(0.2 * at_once["bargain_share"])
    assert at_once["absence_hours_log"] == 0.0
    assert waiting["absence_hours_log"] == pytest.approx(log1p(1))
    for values in (at_once, waiting):
        buckets = [values[f"campaign_bucket_{place}"] for place in range(BUCKETS)]
        assert sorted(buckets) == [0.0] * (BUCKETS - 1) + [1.0]


def test_campaigns_are_spread_over_the_buckets() -> None:
    used = set()
    for number in range(100):
        values = named(Profile(), Campaign(f"c{number}", 1, "C", EventTrigger(("cart",)), ("sms",)))
        used |= {place for place in range(BUCKETS) if values[f"campaign_bucket_{place}"]}
    assert len(used) == BUCKETS


HUGE = st.sampled_from([5e-324, 1e-9, 1.0, 99.5, 1e12])
LABEL = st.sampled_from([None, "a", "b", "c", "ü" * 128])
ANY_FACT = st.builds(
    Fact,
    ts=st.integers(NOW - 400 * 86_400_000, NOW + 86_400_000),
    id64=st.integers(0, 2**64 - 1),
    seq=st.integers(1, 1_000),
    action=st.sampled_from([*ACTIONS, "subscribe", "delivered", "opened", "clicked", "bounced"]),
    item=LABEL,
    category=LABEL,
    brand=LABEL,
    price=st.none() | HUGE | st.just(0.0),
    quantity=st.sampled_from([None, 0, 1, 1_000_000]),
    channel=st.sampled_from([None, *CHANNELS]),
    value=st.none() | HUGE,
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(ANY_FACT, max_size=60),
    st.integers(NOW - 500 * 86_400_000, NOW + 500 * 86_400_000),
    st.sampled_from([AT_ONCE, WAITING]),
    LABEL,
    st.none() | HUGE,
)
def test_whatever_happened_every_feature_is_finite_and_bounded(
    facts: list[Fact], now_ms: int, campaign: Campaign, label: str | None, price: float | None
) -> None:
    values = named(folded(*facts), campaign, label, label, label, price, now_ms)
    wild = {name: value for name, value in values.items() if not abs(value) <= BOUND}
    assert not wild
    assert all(isfinite(value) for value in values.values())


def test_reading_features_changes_neither_profile_nor_result() -> None:
    profile = _someone()
    before = profile.encode()
    first = named(profile, item="i1", category="c1", brand="b1", price=12.0)
    assert named(profile, item="i1", category="c1", brand="b1", price=12.0) == first
    assert profile.encode() == before
    assert named(Profile(before), item="i1", category="c1", brand="b1", price=12.0) == first


def test_features_mean_what_they_meant_when_their_hash_was_made() -> None:
    """A model outlives a release: other numbers under the same hash would score nonsense.

    When a definition changes on purpose, raise ``_VERSION`` in `scoring.features` and store the
    new numbers under the new hash; the old file stays.
    """
    found = named(_someone(), WAITING, "i1", "c1", "b1", 12.0)
    path = GOLDEN / f"{FEATURE_HASH}.json"
    assert path.exists(), f"no golden for {FEATURE_HASH}; store {json.dumps(found)} at {path}"
    assert found == pytest.approx(json.loads(path.read_text()), abs=1e-9)


def _someone() -> Profile:
    """A customer with two months of everything, the same in every run."""
    draw = random.Random(7)
    facts = []
    ts = NOW - 60 * 86_400_000
    for number in range(250):
        ts += (
            draw.randint(1_000, 40_000_000) if draw.random() < 0.1 else draw.randint(1_000, 90_000)
        )
        action = draw.choices(
            ["view", "search", "cart", "purchase", "refund", "delivered", "opened", "clicked"],
            [50, 8, 12, 6, 1, 8, 4, 2],
        )[0]
        about = {
            "item": f"i{draw.randint(0, 9)}",
            "category": f"c{draw.randint(0, 4)}",
            "brand": f"b{draw.randint(0, 4)}",
            "price": round(draw.uniform(5, 90), 2),
        }
        if action in ("delivered", "opened", "clicked"):
            about = {"channel": draw.choice(CHANNELS)}
        facts.append(fact(number, ts, action, **about))
    return folded(*facts)
