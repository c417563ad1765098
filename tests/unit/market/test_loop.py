from itertools import chain

import pytest
from msgspec.structs import replace

from jobs.market.clock import EventClock
from jobs.market.latency import Histogram, LatencyTracker
from jobs.market.loop import Engine, run
from jobs.market.market import Market
from jobs.simulator import Schedule
from jobs.trainers.base import join
from schemas.control import AbsenceTrigger, Campaign, EventTrigger, Policy
from schemas.decision import Decision, Offer
from schemas.errors import UserMistake
from schemas.learning import Example
from schemas.learning_rules import Learning
from schemas.topics import EVENTS, OUTCOMES

START_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
CHANNELS = ("push", "email", "sms")
CAMPAIGNS = (
    Campaign(
        "viewed-again",
        1,
        "Seen three times",
        EventTrigger(("view",), 3, HOUR_MS, "category"),
        CHANNELS,
        attribution_window_ms=HOUR_MS // 4,
    ),
    Campaign(
        "cart-abandonment",
        1,
        "Left in the cart",
        AbsenceTrigger(("cart",), ("purchase",), HOUR_MS // 2),
        CHANNELS,
        attribution_window_ms=HOUR_MS // 4,
    ),
    Campaign(
        "win-back",
        1,
        "Silent for thirty days",
        AbsenceTrigger(("purchase",), ("*",), 720 * HOUR_MS),
        CHANNELS,
    ),
)


@pytest.fixture(scope="module")
def played():
    market = Market(7, 4_000)
    fast = Policy(learning=Learning(per_hour_ratio=1.0))  # two hours are few to move in
    engine = Engine([*CAMPAIGNS, fast], keep_examples=True)
    span = 2 * HOUR_MS
    events = market.events(START_MS, START_MS + span, 20_000, introduce=False)
    return market, engine, run(market, engine, chain(market.fill(START_MS, span), events))


def test_every_campaign_speaks_in_two_hours_of_the_market(played):
    _, _, tally = played
    assert {campaign for campaign, _ in tally.arms} == {spec.id for spec in CAMPAIGNS}
    assert tally.held_out.decisions > 0


def test_nobody_is_spoken_to_through_a_channel_they_refused_at_first_and_ever_since(played):
    market, engine, _ = played
    examples = [one for one in engine.kept if isinstance(one, Example) and not one.holdout]
    allowed = 0
    for example in examples:
        consents = market.population.consents(market.population.index_of(example.user_id))
        allowed += consents["marketing"] and consents[example.channel]
    # A few gave their consent in the course of the run.
    assert allowed > 0.98 * len(examples)


def test_the_bandit_leaves_equal_split_behind(played):
    _, _, tally = played
    assert tally.regret < 0.5 * tally.regret_of_equal_split


def test_the_loop_keeps_what_a_model_is_trained_on(played):
    _, engine, _ = played
    rows = join(engine.kept)
    assert len(rows.features) == len(rows.labels) > 500
    assert 0.01 < rows.labels.mean() < 0.25


def test_the_loop_gives_the_same_run_twice():
    def play():
        market = Market(3, 500)
        events = market.events(START_MS, START_MS + HOUR_MS, 3_000)
        return run(market, Engine([*CAMPAIGNS, Policy()]), events).arms

    assert play() == play() != {}


def test_the_loop_takes_any_decider_and_hands_it_everything_in_order_of_time():
    market = Market(3, 500)
    topics = set()

    def decide(inputs):
        due = [one.due_ms for one in inputs]
        assert due == sorted(due)
        topics.update(one.topic for one in inputs)
        return [decision(one.key, one.due_ms) for one in inputs if one.topic == EVENTS]

    tally = run(market, decide, market.events(START_MS, START_MS + HOUR_MS, 2_000))
    assert tally.sent.decisions > 1_900
    assert topics == {EVENTS, OUTCOMES}


def decision(user_id, at_ms=START_MS, **changes):
    made = Decision(
        decision_id=f"d{user_id}-{at_ms}",
        status="send",
        user_id=user_id,
        campaign_id="viewed-again",
        campaign_version=1,
        trigger="event",
        trigger_event_id="e",
        channel="push",
        propensity=1.0,
        score=0.1,
        decided_at_ms=at_ms,
        ingested_ms=at_ms,
        expires_at_ms=at_ms + HOUR_MS,
        model_version="prior",
        feature_hash="",
        policy_version=1,
        posterior_version=0,
        offer=Offer(),
        reason="",
    )
    return replace(made, **changes)


def test_latency_counts_from_the_intended_moment():
    tracker = LatencyTracker()
    tracker.intend("e1", 100.0)
    assert tracker.observe(decision("u", trigger_event_id="e1"), 100.012) == pytest.approx(12)
    assert tracker.observe(decision("u", trigger_event_id="unknown"), 100.5) is None
    late = decision("u", trigger_event_id="e1", trigger="absence")
    assert tracker.observe(late, 1_900.0) is None
    assert tracker.histogram.percentile(99) == pytest.approx(12, rel=0.03)


def test_the_latency_tracker_forgets_the_oldest_beyond_its_limit():
    tracker = LatencyTracker(limit=3)
    for number in range(8):
        tracker.intend(f"e{number}", float(number))
    kept = [number for number in range(8) if tracker.intended(f"e{number}") is not None]
    assert kept == [3, 4, 5, 6, 7]


def test_percentiles_are_right_to_two_percent_and_by_the_window():
    histogram = Histogram()
    assert histogram.percentile(99) is None
    for ms in range(1, 1_001):
        histogram.record(float(ms))
    for percent in (1, 50, 90, 99, 100):
        assert histogram.percentile(percent) == pytest.approx(10 * percent, rel=0.03)
    before = histogram.counts.copy()
    for _ in range(10):
        histogram.record(5.0)
    assert histogram.percentile(99, since=before) == pytest.approx(5, rel=0.03)


def test_event_time_meets_wall_time_at_the_end_and_is_never_ahead_of_it():
    clock = EventClock.ending_now(1_000.0, 90, 60)
    assert clock.event_ms(1_090.0) == 1_090_000
    assert clock.event_ms(1_000.0) == 1_000_000 - 59 * 90_000
    for elapsed in range(90):
        assert clock.event_ms(1_000.0 + elapsed) < (1_000 + elapsed) * 1_000
        assert clock.wall_s(clock.event_ms(1_000.0 + elapsed)) == pytest.approx(1_000 + elapsed)


def test_a_schedule_ends_its_event_time_at_the_present():
    paced = Schedule.of("500", 90, None, 60)
    assert (paced.events, paced.span_ms) == (45_000, 5_400_000)
    assert paced.clock(1e9).event_ms(1e9 + 90) == (10**9 + 90) * 1_000
    backlog = Schedule.of("max", None, 30_000)
    assert backlog.clock(1e9).event_start_ms + backlog.span_ms == 10**12


@pytest.mark.parametrize(
    "words",
    [
        ("fast", 10, None),
        ("0", 10, None),
        ("nan", 10, None),
        ("max", 10, None),
        ("max", None, None),
        ("10", 10, 100),
        ("10", None, None, 60),
        ("10", 10, None, 0.5),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_with_a_sentence(words):
    with pytest.raises(UserMistake, match="--"):
        Schedule.of(*words)
