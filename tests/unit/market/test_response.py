import pytest
from msgspec.structs import replace

from jobs.market.catalogue import CATEGORIES
from jobs.market.market import Market
from jobs.market.response import SHIPPED
from jobs.market.sender import Sender
from jobs.market.tally import Tally
from schemas.decision import Decision, Offer
from schemas.outcome import CHANNELS
from schemas.wire import decode_event, decode_outcome, encode

NOW_MS = 1_800_000_000_000


@pytest.fixture(scope="module")
def market():
    return Market(7, 20_000)


def decision(number=0, **changes):
    made = Decision(
        decision_id=f"d{number:024x}",
        status="send",
        user_id=f"u{number % 20_000:07d}",
        campaign_id="viewed-again",
        campaign_version=1,
        trigger="event",
        trigger_event_id=f"e{number}",
        channel="push",
        propensity=0.5,
        score=0.1,
        decided_at_ms=NOW_MS,
        ingested_ms=NOW_MS,
        expires_at_ms=NOW_MS + 3_600_000,
        model_version="prior",
        feature_hash="",
        policy_version=1,
        posterior_version=0,
        offer=Offer("coupon", 0.1),
        reason="",
        item_category="shoes",
    )
    return replace(made, **changes)


def kinds(outcomes):
    return [outcome.kind for outcome in outcomes]


def test_the_same_decision_is_answered_the_same_by_another_market_of_the_same_seed(market):
    again = Market(7, 20_000)
    for number in range(500):
        assert again.respond(decision(number)) == market.respond(decision(number))


def test_answers_keep_the_contract_and_the_order_of_time(market):
    seen = set()
    for number in range(20_000):
        outcomes = market.respond(decision(number))
        assert [outcome.ts for outcome in outcomes] == sorted(outcome.ts for outcome in outcomes)
        for outcome in outcomes:
            assert decode_outcome(encode(outcome)) == outcome
            assert outcome.ts >= NOW_MS
        found = kinds(outcomes)
        assert len(found) == len(set(found))
        assert ("bounced" in found) == ("delivered" not in found)
        assert "clicked" not in found or "opened" in found
        seen.update(found)
    assert seen >= {"delivered", "opened", "clicked", "converted", "bounced", "unsubscribed"}


@pytest.mark.parametrize("campaign", [*SHIPPED, "a-campaign-nobody-described"])
@pytest.mark.parametrize("channel", CHANNELS)
def test_clicks_come_as_often_as_the_truth_says(market, campaign, channel):
    asked = [decision(number, campaign_id=campaign, channel=channel) for number in range(8_000)]
    chances = [market.truth.click_probability(one) for one in asked]
    clicks = sum("clicked" in kinds(market.respond(one)) for one in asked)
    deviation = sum(chance * (1 - chance) for chance in chances) ** 0.5
    assert abs(clicks - sum(chances)) < 4 * deviation


@pytest.mark.parametrize("status", ["send", "holdout"])
def test_conversions_come_as_often_as_the_truth_says(market, status):
    asked = [decision(number, status=status) for number in range(20_000)]
    chances = [market.truth.true_conversion_probability(one, status == "send") for one in asked]
    bought = sum("converted" in kinds(market.respond(one)) for one in asked)
    deviation = sum(chance * (1 - chance) for chance in chances) ** 0.5
    assert abs(bought - sum(chances)) < 4 * deviation


def test_a_holdout_is_told_nothing_and_may_buy_all_the_same(market):
    found = [kinds(market.respond(decision(n, status="holdout"))) for n in range(5_000)]
    assert {tuple(kind) for kind in found} == {(), ("converted",)}


def test_the_arms_of_the_active_population_have_the_stated_click_through(market):
    people, truth = market.population, market.truth
    sample = truth._sample[:4_000]
    for campaign, stated in SHIPPED.items():
        for channel in CHANNELS:
            mean = sum(
                truth.true_click_probability(
                    people.user_id(customer), campaign, channel, discount_ratio=0.1
                )
                for customer in sample[~people.bot[sample]].tolist()
            ) / len(sample)
            assert mean == pytest.approx(stated.click_ratio[channel], rel=0.12)


def test_channels_differ_clearly_in_every_campaign(market):
    for campaign in [*SHIPPED, *(f"campaign-{number}" for number in range(10))]:
        ratios = sorted(market.truth.expected_ctr(campaign, channel) for channel in CHANNELS)
        assert ratios[2] > 1.5 * ratios[1] > 1.5 * ratios[0] > 0.01
        best = market.truth.best_channel(campaign)
        assert market.truth.expected_ctr(campaign, best) == ratios[2]


def test_tastes_offers_and_hours_move_the_click(market):
    truth, people = market.truth, market.population
    customer = int((~people.bot).argmax())
    user, liked = people.user_id(customer), int(people.favourites[customer, 0])

    def chance(**context):
        return truth.true_click_probability(user, "win-back", "sms", **context)

    others = set(range(len(CATEGORIES))) - set(people.favourites[customer].tolist())
    assert chance(item_category=CATEGORIES[liked]) > chance(item_category=CATEGORIES[min(others)])
    assert chance(discount_ratio=0.3) > chance(discount_ratio=0.0)
    peak_ms = (int(people.peak_utc_hour[customer]) + 24 * 20_000) * 3_600_000
    assert chance(at_ms=peak_ms) > chance(at_ms=peak_ms + 12 * 3_600_000)


def test_bots_and_strangers_never_click(market):
    bot = market.population.user_id(int(market.population.bot.argmax()))
    assert market.truth.click_probability(decision(user_id=bot)) == 0
    for stranger in ("somebody", "u9999999", "u-000001", "u٠٠٠٠٠٠١", "u"):
        assert market.truth.click_probability(decision(user_id=stranger)) == 0
        assert kinds(market.respond(decision(user_id=stranger))) == ["bounced"]


def test_a_sender_acts_once_on_a_decision_and_never_on_an_expired_one(market):
    sender = Sender(market)
    for _ in range(3):
        sender.take(decision(1), NOW_MS)
    sender.take(decision(2), NOW_MS + 3_600_001)
    sender.take(decision(3, status="holdout"), NOW_MS)
    assert sender.counts == {"sent": 1, "repeated": 2, "expired": 1, "holdout": 1}


def test_a_sender_answers_when_the_answers_are_due(market):
    sender = Sender(market)
    for number in range(2_000):
        sender.take(decision(number), NOW_MS)
    assert list(sender.due(NOW_MS)) == []
    early = list(sender.due(NOW_MS + 60_000))
    late = list(sender.due(NOW_MS + 10**9))
    assert early
    assert late
    assert max(answer.due_ms for answer in early) <= NOW_MS + 60_000
    assert min(answer.due_ms for answer in late) > NOW_MS + 60_000
    assert len(sender) == 0


def test_a_conversion_is_also_reported_as_a_purchase_that_names_the_message(market):
    sender = Sender(market)
    for number in range(2_000):
        sender.take(decision(number), NOW_MS)
        sender.take(decision(number + 2_000, status="holdout"), NOW_MS)
    answers = list(sender.due(NOW_MS + 10**9))
    purchases = [decode_event(a.payload) for a in answers if a.kind == "purchase"]
    assert len(purchases) == sum(answer.kind == "converted" for answer in answers) > 50
    told = [event for event in purchases if event.attribution is not None]
    assert 0 < len(told) < len(purchases)
    assert {event.attribution.campaign_id for event in told} == {"viewed-again"}


def test_regret_is_nothing_for_the_best_arm_and_one_share_for_an_equal_split(market):
    best, even = Tally(market), Tally(market)
    for number in range(3_000):
        one = decision(number, campaign_id="cart-abandonment")
        channel = CHANNELS[number % 3]
        even.add(replace(one, channel=channel), [])
        best.add(replace(one, channel=channel if number < 3 else "email"), [])
    assert market.truth.best_channel("cart-abandonment") == "email"
    assert 0 < best.regret < 0.01 * best.regret_of_equal_split
    assert even.regret == pytest.approx(even.regret_of_equal_split, rel=0.25)


def test_a_campaign_of_one_channel_has_nothing_to_regret(market):
    tally = Tally(market)
    for number in range(100):
        tally.add(decision(number, campaign_id="cart-reminder", channel="push"), [])
    assert tally.regret == tally.regret_of_equal_split == 0


def test_the_measured_lift_agrees_with_the_truth(market):
    tally = Tally(market)
    for number in range(20_000):
        one = decision(number, status="holdout" if number % 2 else "send")
        tally.add(one, market.respond(one))
    low, high = tally.lift_interval
    assert low < tally.mean_true_lift < high
    assert low > 0
