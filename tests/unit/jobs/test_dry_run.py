"""Files tried on recorded events: pure, so a list of events is all it takes."""

from collections import Counter

import pytest
from msgspec.structs import replace

from jobs.campaigns import dry_run as module
from jobs.campaigns.dry_run import active, changed, dry_run, in_order, report
from jobs.campaigns.trial import Recorded, run_trial
from schemas.budget import Budget
from schemas.errors import UserMistake
from schemas.event import BehaviorEvent, Consent
from schemas.topics import EVENTS, OUTCOMES, PROFILES
from schemas.wire import encode
from state.customer import Customer
from state.fact import fact_of_event, id64
from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    THIRD_VIEW_FILE,
    abandonment,
    on_cart,
    policy,
    viewed_again,
)
from tests.harness import NOON_MS, consenting, control, event
from tests.published import Message, fact, profile


def recorded(*events):
    return [Recorded(EVENTS, e["user_id"], encode(e), e["ts"]) for e in events]


def day(*users):
    """Each consents, views three times, and puts something into the cart a minute later."""
    events = []
    for number, user in enumerate(users):
        at = NOON_MS + number * HOUR
        events.append(consenting(user, at))
        events += [event(user, "view", at + n * 1_000, item_category="lamps") for n in (1, 2, 3)]
        events.append(event(user, "cart", at + MINUTE, item_id="lamp"))
    return recorded(*events)


RUNNING = dict(control(policy(cap_sends=1), on_cart()))


def test_a_new_campaign_is_told_with_whom_it_reaches_and_what_it_displaces():
    trial = run_trial(day("ann", "bob"), RUNNING, changed([viewed_again()]))
    assert trial.records == 10
    assert trial.before["on-cart"].sends == 2
    assert trial.after["viewed-again"].customers == {"ann", "bob"}
    assert "on-cart" not in {name for name, reach in trial.after.items() if reach.sends}
    assert trial.displaced == {"on-cart": Counter(global_cap=2)}


def test_what_displaces_nothing_says_so():
    files = [viewed_again()]
    trial = run_trial(day("ann"), dict(control(policy(), on_cart())), changed(files))
    lines = report(trial, files)
    assert lines[0] == "5 recorded events and outcomes"
    assert any(line.startswith("viewed-again") and "0 → 1" in line for line in lines)
    assert not any(line.startswith("on-cart") for line in lines)
    assert lines[-1] == "displaces nothing"


def test_a_change_that_is_no_campaigns_and_moves_none_has_no_table():
    same = [policy(cap_sends=1)]
    lines = report(run_trial(day("ann"), RUNNING, changed(same)), same)
    assert lines == ["5 recorded events and outcomes", "displaces nothing"]


def test_a_changed_campaign_does_not_displace_itself():
    files = [on_cart(audience="rfm_monetary_total > 1000000")]
    trial = run_trial(day("ann"), RUNNING, changed(files))
    assert (trial.before["on-cart"].sends, trial.after["on-cart"].sends) == (1, 0)
    assert trial.displaced == {}
    assert "on-cart would reach nobody: not_in_audience 1" in report(trial, files)


def test_consent_from_before_the_recorded_day_counts_and_nothing_else_of_then():
    customer = Customer()
    before = [
        BehaviorEvent("c", "ann", "login", 1, consent=Consent(True, True, True, True)),
        *(BehaviorEvent(f"v{n}", "ann", "view", n, item_category="lamps") for n in (2, 3)),
    ]
    for number, each in enumerate(before, start=1):
        customer.accept(
            fact_of_event(each, NOON_MS - 10_000 + each.ts, id64(each.event_id), number)
        )
    events = recorded(
        event("ann", "view", NOON_MS, item_category="lamps"),
        event("ann", "cart", NOON_MS + MINUTE, item_id="lamp"),
    )
    known = {"ann": customer.encode()}
    files = [viewed_again()]
    assert run_trial(events, RUNNING, changed(files)).after["on-cart"].silent == {"no_purpose": 1}
    trial = run_trial(events, RUNNING, changed(files), known.get)
    assert (trial.after["on-cart"].sends, "viewed-again" in trial.after) == (1, False)


def test_events_that_happened_years_before_kafka_had_them_are_tried_as_they_happened():
    events = [each._replace(ingested_ms=NOON_MS + 900 * DAY) for each in day("ann")[1:]]
    later = Customer()
    agreed = BehaviorEvent("c", "ann", "login", 1, consent=Consent(True, True, True, True))
    later.accept(fact_of_event(agreed, NOON_MS + 900 * DAY, 1, 1))
    known = {"ann": later.encode()}
    trial = run_trial(events, RUNNING, changed([viewed_again()]), known.get)
    assert trial.before["on-cart"].sends == 1
    assert trial.after["viewed-again"].sends == 1


def test_an_event_out_of_order_does_not_come_before_what_a_customer_agreed_to():
    late = event("ann", "cart", NOON_MS - 50_000, item_id="lamp")
    many = [event("ann", "view", NOON_MS + n) for n in range(500)]
    events = [each._replace(ingested_ms=NOON_MS + HOUR) for each in recorded(*many, late)]
    known = Customer()
    agreed = BehaviorEvent("c", "ann", "login", 1, consent=Consent(True, True, True, True))
    known.accept(fact_of_event(agreed, NOON_MS, 1, 1))
    trial = run_trial(events, RUNNING, {}, {"ann": known.encode()}.get)
    assert trial.before["on-cart"].sends == 1


def test_a_budget_stops_nothing_and_is_told():
    files = [on_cart(budget=Budget(per_day=0.001), channels=("sms",))]
    trial = run_trial(day("ann", "bob"), {}, changed(files))
    assert trial.after["on-cart"].sends == 2
    assert trial.after["on-cart"].cost == pytest.approx(0.1)
    assert "on-cart would want 0.10, and may spend 0.00 a day" in report(trial, files)


def test_a_paused_campaign_is_tried_as_if_it_were_active():
    paused = [replace(on_cart(), status="paused")]
    assert run_trial(day("ann"), RUNNING, changed(active(paused))).after["on-cart"].sends == 1
    trial = run_trial(day("ann"), RUNNING, changed(paused))
    assert "on-cart" not in trial.after
    assert "on-cart is paused, so it would say nothing" in report(trial, paused)


def test_what_falls_due_by_the_wall_clock_after_the_last_record_is_tried_too():
    waits = dict(control(policy(), abandonment()))
    events = day("ann")
    last_ms = events[-1].ingested_ms
    assert run_trial(events, waits, {}).before == {}
    trial = run_trial(events, waits, {}, until_ms=last_ms + 2 * HOUR)
    assert trial.before["cart-abandonment"].sends == 1


def test_a_wait_does_not_end_while_another_partition_is_behind():
    """As when files are replayed: one partition may be hours of event time ahead."""
    waits = dict(control(policy(), abandonment()))
    ann = day("ann")
    bought = recorded(event("ann", "purchase", NOON_MS + 20 * MINUTE, item_id="lamp"))
    bob = recorded(event("bob", "view", NOON_MS + 5 * HOUR))[0]._replace(partition=1)
    both = [ann[0], bob, *ann[1:], *[bob] * 1_000, *bought]
    behind = [each._replace(ingested_ms=NOON_MS + DAY) for each in both]
    assert run_trial(behind, waits, {}).before == {}
    alone = [each._replace(partition=0) for each in behind]
    assert run_trial(alone, waits, {}).before["cart-abandonment"].sends == 1


def test_what_is_tried_twice_says_the_same():
    files = changed([viewed_again()])
    assert run_trial(day("ann", "bob"), RUNNING, files) != run_trial([], RUNNING, files)
    one, other = (run_trial(DAY_OF_TWO, RUNNING, files) for _ in range(2))
    assert one == other


DAY_OF_TWO = day("ann", "bob")


def test_progress_is_told_for_every_record():
    told = []
    run_trial(day(*(f"u{n}" for n in range(150))), RUNNING, {}, progress=told.append)
    assert sum(told) == 750
    assert len(told) == 2


class At(Message):
    """A record that Kafka took in at a time."""

    def __init__(self, ms, payload, topic=EVENTS, key=""):
        super().__init__(payload, key, topic)
        self._ms = ms

    def timestamp(self):
        return 1, self._ms


@pytest.fixture
def kafka(monkeypatch):
    """What the command reads, by topic; the events are of one partition."""
    topics = {EVENTS: [], PROFILES: []}
    monkeypatch.setattr(module, "control_snapshot", lambda _: list(RUNNING.items()))
    monkeypatch.setattr(module, "offsets_at", lambda *_: {(EVENTS, 0): 0})
    monkeypatch.setattr(module, "watermarks", lambda *_: {(EVENTS, 0): (0, len(topics[EVENTS]))})
    monkeypatch.setattr(module, "read_to_end", lambda _, wanted, *__: iter(topics[wanted[0]]))
    return topics


def test_the_command_reads_what_was_recorded_and_what_is_known(kafka, tmp_path, capsys):
    path = tmp_path / "third-view.yaml"
    path.write_text(THIRD_VIEW_FILE)
    bob = profile("bob", [replace(fact(1), action="login", consent=Consent(True, push=True))])
    kafka[PROFILES] += [At(0, encode(bob), PROFILES, "bob"), At(0, b"{", PROFILES, "cid")]
    kafka[EVENTS] += [
        At(NOON_MS + n, encode(event(user, "view", NOON_MS + n)))
        for user in ("bob", "cid")
        for n in (1, 2, 3)
    ]
    dry_run([path])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "6 recorded events and outcomes"
    assert next(line.split() for line in lines if line.startswith("third-view ")) == [
        *("third-view", "0", "→", "1", "1", "0", "0.00"),
    ]
    assert "third-view would be silent where: no_purpose 1" in lines


def test_nothing_recorded_and_no_time_are_told_with_what_to_do(kafka, tmp_path):
    path = tmp_path / "third-view.yaml"
    path.write_text(THIRD_VIEW_FILE)
    with pytest.raises(UserMistake, match="say more: --last 7d"):
        dry_run([path])
    with pytest.raises(UserMistake, match="--last: 'soon' is no duration; say 1d or 6h"):
        dry_run([path], last="soon")


def test_partitions_are_merged_by_time_and_what_cannot_be_read_is_left_out():
    def stream(*records):
        return iter([At(*record) for record in records])

    first = stream((1, b'{"user_id": "ann"}'), (DAY, b'{"user_id": "bob"}'))
    second = stream((2, b'{"user_id": "cid"}', OUTCOMES), (3, b"{"), (4, b'{"user_id": 7}'))
    assert [(r.ingested_ms, r.user_id, r.topic) for r in in_order([first, second])] == [
        *((1, "ann", EVENTS), (2, "cid", OUTCOMES), (DAY, "bob", EVENTS)),
    ]
