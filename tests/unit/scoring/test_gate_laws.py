"""What holds of every decision, whatever customers do and in whatever order it arrives.

Lives of several days round both changes of the clocks are played through the stream's core, one
record at a time; what it decides is judged by what had arrived by then and by the calendar, with
none of the gates' code.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import convert

from schemas import topics
from schemas.control import Campaign, Cap, EventTrigger, Posterior, QuietHours
from state.clock import QUIET_MS
from tests.builders import DAY, EVEN, HOUR, MINUTE, abandonment, on_cart, policy
from tests.harness import Harness

SPRING_MS = int(datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp() * 1_000)
AUTUMN_MS = int(datetime(2026, 10, 31, 12, tzinfo=UTC).timestamp() * 1_000)
"""Noons before Oslo's clocks go forward, and New York's go back."""

ZONES = ("Europe/Oslo", "America/New_York", "Asia/Shanghai", "Not/AZone", None)
RESERVED_MS = 6 * HOUR
TWO_IN_6_HOURS = Cap(2, 6 * HOUR)
ONE_PUSH_A_DAY = Cap(1, per="day", channel="push")
TWO_SALES_A_WEEK = Cap(2, per="week", category="sale")
POLICY = policy(
    caps=(TWO_IN_6_HOURS, ONE_PUSH_A_DAY, TWO_SALES_A_WEEK),
    quiet_hours=QuietHours("21:30", "02:30"),  # ends in the hour that is skipped, or there twice
    default_zone="Asia/Kolkata",
    holdout_ratio=0.3,
    reservation_ms=RESERVED_MS,
    learning=EVEN,
)
RECEIPT = Campaign(
    "receipt",
    1,
    "Receipt",
    EventTrigger(("purchase",)),
    ("email",),
    message="transactional",
    cooldown_ms=0,
)
CONTROL = [
    POLICY,
    on_cart(trigger=EventTrigger(("cart",), unless=("purchase",)), expires_after_ms=DAY),
    on_cart(id="sale", trigger=EventTrigger(("cart", "favourite")), category="sale"),
    on_cart(id="now", trigger=EventTrigger(("favourite", "view")), quiet_hours="drop"),
    abandonment(cooldown_ms=0),
    RECEIPT,
]
DEFERRING = {"on-cart", "cart-abandonment"}

_actions = st.sampled_from(["cart", "cart", "favourite", "view", "purchase", "login"])
_words = st.fixed_dictionaries(
    {}, optional={name: st.booleans() for name in ("marketing", "sms", "push", "email")}
)
_steps = st.tuples(
    st.sampled_from([0, 1, 5 * MINUTE, 31 * MINUTE, HOUR, 4 * HOUR, 7 * HOUR]),
    st.sampled_from([0, 0, 0, 30_000, MINUTE, 20 * MINUTE]),
    st.one_of(
        st.builds(lambda action: ("event", action, None), _actions),
        st.builds(lambda action: ("event", action, None), _actions),
        st.builds(lambda consent: ("event", "login", consent), _words),
        st.sampled_from(
            [("outcome", kind, None) for kind in ("delivered", "bounced", "unsubscribed")]
        ),
        st.just(("again", "", None)),
    ),
)


class Life(NamedTuple):
    """Where and when a customer lives, and what happens: waits, delays, things."""

    user: str
    zone: str | None
    start_ms: int
    steps: list[tuple[int, int, tuple[str, str, Any]]]


_lives = st.builds(
    Life,
    st.sampled_from([f"u{number}" for number in range(12)]),
    st.sampled_from(ZONES),
    st.sampled_from([SPRING_MS, AUTUMN_MS]),
    st.lists(_steps, min_size=5, max_size=40),
)


class Told(NamedTuple):
    """A decision and how many records had arrived when it was made, its own among them."""

    decision: dict[str, Any]
    arrived: int


def play(life: Life, *, restarts: bool = False) -> tuple[list[dict[str, Any]], list[Told]]:
    """The records in their order of arrival, and the decisions."""
    stream = Harness(CONTROL, shards=16)
    allowed = {"marketing": True, "sms": True, "push": True, "email": True}
    zone = {} if life.zone is None else {"traits": {"zone": life.zone}}
    first = {"event_id": "e", "user_id": life.user, "action": "login", "ts": life.start_ms}
    records: list[dict[str, Any]] = [{**first, "consent": allowed, **zone}]
    told: list[Told] = []
    stream.send(records[0])
    now_ms = life.start_ms
    for number, (wait_ms, delay_ms, (what, name, consent)) in enumerate(life.steps):
        now_ms += wait_ms
        record: dict[str, Any] = {"user_id": life.user, "ts": now_ms - delay_ms}
        topic = topics.EVENTS
        if what == "again":
            record = records[number % len(records)]
            topic = topics.OUTCOMES if "kind" in record else topics.EVENTS
        elif what == "event":
            record |= {"event_id": f"e{number}", "action": name}
            if consent is not None:
                record["consent"] = consent
        else:
            if not told:
                continue
            about = told[-1].decision
            record |= {"outcome_id": f"o{number}", "kind": name, "channel": about["channel"]}
            record["decision_id"] = about["decision_id"]
            topic = topics.OUTCOMES
        records.append(record)
        if restarts:
            learned = [
                convert(each, Posterior)
                for each in stream.outputs[topics.CONTROL]
                if each["kind"] == "posterior"
            ]
            stream.restart(records=[*CONTROL, *learned])
        told += [Told(each, len(records)) for each in stream.send(record, topic=topic)]
    before = len(stream.outputs[topics.DECISIONS])
    stream.tick(now_ms + 2 * DAY)
    stream.tick(now_ms + 2 * DAY + QUIET_MS)  # after a restart it first waits for a backlog
    told += [Told(each, len(records)) for each in stream.outputs[topics.DECISIONS][before:]]
    return records, told


def marketing(told: list[Told]) -> list[Told]:
    return [each for each in told if each.decision["campaign_id"] != RECEIPT.id]


def agreed(records: list[dict[str, Any]], purpose: str) -> bool:
    """The newest word; of two of one instant the refusal."""
    words = []
    for record in records:
        said = record.get("consent", {}).get(purpose)
        if record.get("kind") == "unsubscribed" and record["channel"] == purpose:
            said = False
        if said is not None:
            words.append((record["ts"], not said))
    return bool(words) and not max(words)[1]


def clock(life: Life, at_ms: int) -> datetime:
    known = life.zone if life.zone not in (None, "Not/AZone") else POLICY.default_zone
    return datetime.fromtimestamp(at_ms / 1_000, ZoneInfo(known))


laws = settings(max_examples=150, deadline=None)


@laws
@given(_lives)
def test_nobody_hears_anything_that_they_did_not_agree_to(life: Life) -> None:
    records, told = play(life)
    for decision, arrived in marketing(told):
        at_once = decision["trigger_event_id"] == records[arrived - 1].get("event_id")
        # What time brings is decided just before or just after the record that brought the time.
        known = [records[:arrived]] if at_once else [records[:arrived], records[: arrived - 1]]
        assert any(
            agreed(before, "marketing") and agreed(before, decision["channel"]) for before in known
        )


@laws
@given(_lives)
def test_nothing_is_decided_in_the_quiet_hours_nor_may_go_out_in_them(life: Life) -> None:
    for decision, _ in marketing(play(life)[1]):
        minutes = (at := clock(life, decision["decided_at_ms"])).hour * 60 + at.minute
        assert 150 <= minutes < 21 * 60 + 30
        last = clock(life, decision["expires_at_ms"] - 1)
        assert 150 <= last.hour * 60 + last.minute < 21 * 60 + 30
        assert decision["expires_at_ms"] - decision["decided_at_ms"] <= DAY


@laws
@given(_lives)
def test_no_cap_is_ever_exceeded_by_messages_that_got_through(life: Life) -> None:
    records, told = play(life)
    bounced = {record["decision_id"] for record in records if record.get("kind") == "bounced"}
    kept = [each for each, _ in marketing(told) if each["decision_id"] not in bounced]
    rolling = sorted(each["decided_at_ms"] for each in kept)
    assert all(
        later - earlier >= 6 * HOUR for earlier, later in zip(rolling, rolling[2:], strict=False)
    )
    days: defaultdict[Any, int] = defaultdict(int)
    weeks: defaultdict[Any, int] = defaultdict(int)
    for each in kept:
        at = clock(life, each["decided_at_ms"])
        days[at.date()] += each["channel"] == "push"
        weeks[at.isocalendar()[:2]] += each["campaign_id"] == "sale"
    assert max(days.values(), default=0) <= 1
    assert max(weeks.values(), default=0) <= 2


@laws
@given(_lives)
def test_who_is_held_out_once_is_never_sent_to(life: Life) -> None:
    statuses = {each["status"] for each, _ in marketing(play(life)[1])}
    assert len(statuses) <= 1


@laws
@given(_lives)
def test_nothing_is_said_twice_and_one_campaign_speaks_at_a_moment(life: Life) -> None:
    _, told = play(life)
    names = [each["decision_id"] for each, _ in told]
    assert len(names) == len(set(names))
    moments = [(each["trigger_event_id"], each["decided_at_ms"]) for each, _ in marketing(told)]
    assert len(moments) == len(set(moments))


@laws
@given(_lives)
def test_nothing_is_sent_after_the_purchase_that_ends_its_reason(life: Life) -> None:
    records, told = play(life)
    for decision, arrived in told:
        if decision["campaign_id"] not in DEFERRING or not decision["deferred_ms"]:
            continue
        since_ms = decision["decided_at_ms"] - decision["deferred_ms"]
        begun = next(
            place
            for place, record in enumerate(records)
            if record.get("event_id") == decision["trigger_event_id"]
        )
        assert not any(
            record.get("action") == "purchase" and record["ts"] >= since_ms
            for record in records[begun : arrived - 1]
        )


@laws
@given(_lives)
def test_a_restart_before_every_record_changes_no_decision(life: Life) -> None:
    assert play(life)[1] == play(life, restarts=True)[1]


@laws
@given(_lives)
def test_what_is_owed_to_the_customer_goes_out_at_once_whatever_they_agreed_to(life: Life) -> None:
    records, told = play(life)
    lateness_ms, newest, bounced = POLICY.lateness_ms, life.start_ms, 0
    wanted, seen = set(), set()
    for record in records[1:]:
        name = record.get("event_id") or record["outcome_id"]
        if name in seen:
            continue
        seen.add(name)
        bounced += record.get("kind") == "bounced"
        if record.get("action") == "purchase" and record["ts"] >= newest - lateness_ms:
            wanted.add(name)
        newest = max(newest, record["ts"])
    receipts = [each for each, _ in told if each["campaign_id"] == RECEIPT.id]
    assert {each["status"] for each in receipts} <= {"send"}
    assert {each["trigger_event_id"] for each in receipts} <= wanted
    if bounced < POLICY.bounce_limit:
        assert {each["trigger_event_id"] for each in receipts} == wanted
