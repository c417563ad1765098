from collections import Counter
from threading import Event, Lock
from types import SimpleNamespace

import msgspec
import pytest

from jobs import simulator as module
from jobs.market.faults import NO_FAULTS
from jobs.market.market import Market
from jobs.settings import Settings
from jobs.simulator import Schedule, Simulator, summary
from schemas.decision import Decision, Offer
from schemas.topics import DECISIONS, EVENTS, OUTCOMES
from schemas.wire import decode_event, decode_outcome, encode

TOPICS = (EVENTS, OUTCOMES, DECISIONS)


class Message(SimpleNamespace):
    def value(self):
        return self.payload

    def error(self):
        return None


class Broker:
    """Topics in memory; each view becomes a decision as soon as it is sent, twice."""

    def __init__(self):
        self.topics = {topic: [] for topic in TOPICS}
        self.full_once = True
        self.lock = Lock()

    def produce(self, topic, value, key):
        with self.lock:
            if self.full_once and topic == EVENTS:
                self.full_once = False
                raise BufferError
            self.topics[topic].append((key, value))
            if topic == EVENTS and b'"action":"view"' in value:
                self.topics[DECISIONS] += [decide(decode_event(value))] * 2

    def flush(self, timeout):
        return 0

    def poll(self, timeout):
        return 0


class Reader:
    """Reads a broker's decisions."""

    def __init__(self, broker):
        self.broker = broker
        self.read = 0

    def list_topics(self, timeout):
        return SimpleNamespace(topics=dict.fromkeys(TOPICS, SimpleNamespace(partitions={0: None})))

    def get_watermark_offsets(self, place, timeout):
        return 0, 0

    def assign(self, places):
        pass

    def close(self):
        pass

    def poll(self, timeout):
        found = self.consume(1, timeout)
        return found[0] if found else None

    def consume(self, most, timeout):
        with self.broker.lock:
            found = self.broker.topics[DECISIONS][self.read : self.read + most]
            self.read += len(found)
        return [Message(payload=payload) for payload in found]


def decide(event):
    return encode(
        Decision(
            decision_id=f"d{event.event_id}",
            status="holdout" if event.user_id < "u0000100" else "send",
            user_id=event.user_id,
            campaign_id="viewed-again",
            campaign_version=1,
            trigger="event",
            trigger_event_id=event.event_id,
            channel="push",
            propensity=1.0,
            score=0.1,
            decided_at_ms=event.ts,
            ingested_ms=event.ts,
            expires_at_ms=event.ts + 86_400_000,
            model_version="prior",
            feature_hash="",
            policy_version=1,
            posterior_version=0,
            offer=Offer(),
            reason="",
        )
    )


@pytest.fixture
def broker(monkeypatch):
    made = Broker()
    monkeypatch.setattr(module, "ensure_topics", lambda settings: [])
    monkeypatch.setattr(module, "producer", lambda settings, **overrides: made)
    monkeypatch.setattr(module, "consumer", lambda settings, group, **overrides: Reader(made))
    return made


def simulate(schedule, settle_s=0.2, **options):
    run = Simulator(Settings(), Market(7, 1_000, faults=NO_FAULTS), schedule, **options)
    run.run(Event(), settle_s)
    return run


def test_a_backlog_sends_exactly_what_was_asked_for_after_the_fill(broker):
    run = simulate(Schedule.of("max", None, 5_000, fill=True), answers=False)
    assert run.sent == {"identify": 1_000, "event": 5_000}
    assert len(broker.topics[EVENTS]) == 6_000
    assert not broker.topics[OUTCOMES]


def test_decisions_are_answered_once_and_holdouts_get_no_message(broker):
    run = simulate(Schedule.of("max", None, 5_000, scale=10_000))
    decisions = [msgspec.json.decode(raw, type=Decision) for raw in broker.topics[DECISIONS]]
    held_out = {one.decision_id for one in decisions if one.status == "holdout"}
    assert run.sender.counts["repeated"] == len(decisions) / 2
    assert run.sender.counts["holdout"] == len(held_out) > 50
    outcomes = [decode_outcome(raw) for _, raw in broker.topics[OUTCOMES]]
    assert Counter(outcome.kind for outcome in outcomes) == run.answered
    assert run.answered["clicked"] > 20
    assert {outcome.kind for outcome in outcomes if outcome.decision_id in held_out} <= {
        "converted"
    }


def test_a_paced_run_measures_from_the_schedule_and_sends_nothing_from_the_future(broker):
    run = simulate(Schedule.of("2000", None, 1_000, scale=60))
    assert run.latencies.histogram.counts.sum() > 500
    assert run.lag.counts.sum() == 1_000
    ending_ms = run._clock.event_start_ms + run.schedule.span_ms
    for _, raw in broker.topics[EVENTS]:
        assert decode_event(raw).ts <= ending_ms
    assert ending_ms <= run._clock.wall_start_s * 1_000 + 501


def test_a_decision_that_cannot_be_read_ends_the_run_with_its_error(broker):
    broker.topics[DECISIONS].append(b"{}")
    with pytest.raises(msgspec.ValidationError):
        simulate(Schedule.of("1000", None, None))


def test_a_stopped_run_ends_before_its_schedule(broker):
    stop = Event()
    stop.set()
    run = Simulator(Settings(), Market(7, 1_000), Schedule.of("1000", None, None))
    run.run(stop)
    assert not run.sent


def test_the_summary_says_what_was_sent_read_and_answered_and_holds_it_against_the_truth(broker):
    lines = summary(simulate(Schedule.of("max", None, 5_000, scale=10_000)))
    assert lines[0].startswith("5,")
    assert "events: event 5,000, purchase" in lines[0]
    assert "holdout" in lines[1]
    assert "not due yet" in lines[2]
    assert any(line.startswith("viewed-again by push: ") and "truly" in line for line in lines)
    assert any(line.startswith("lift in conversion: ") for line in lines)
