"""The commands that speak to Kafka alone, on a broker of their own."""

import json
from pathlib import Path

import pytest

from benchmarks.servers import free_settings, running
from jobs.campaigns import commands as campaigns
from jobs.campaigns.changes import history, plan, publish
from jobs.campaigns.changes import running as in_force
from jobs.campaigns.files import read_files
from jobs.kafka import control_snapshot, ensure_topics, producer, read_to_end
from jobs.ledger import read_ledger
from jobs.mapping import read_mapping
from jobs.replay.publish import KafkaEvents, Report, replay_files
from jobs.why.answers import explain
from jobs.why.command import read_topics
from schemas.audit import Outcomes
from schemas.errors import UserMistake
from schemas.topics import AUDIT, CONTROL, DECISIONS, EVENTS, INPUTS
from schemas.wire import decode_event, encode

pytestmark = pytest.mark.stack

SHIPPED = Path(__file__).resolve().parents[2] / "infra" / "campaigns"
ROWS = 5_000


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    settings = free_settings(tmp_path_factory.mktemp("broker"))
    with running(settings, "kafka"):
        ensure_topics(settings)
        yield settings


def test_a_replay_keeps_rows_and_order_and_the_ledger_wants_each_of_them(broker, tmp_path):
    (tmp_path / "map.yaml").write_text(
        "event: {user_id: user, action: {constant: view}, ts: {from: at, time: epoch_s}}"
    )
    rows = [(f"u{number % 97}", 1_700_000_000 + number) for number in range(ROWS)]
    text = "user,at\n" + "".join(f"{user},{at}\n" for user, at in rows)
    (tmp_path / "rows.csv").write_text(text)
    sink, report = KafkaEvents(broker), Report()
    replay_files([tmp_path / "rows.csv"], read_mapping(tmp_path / "map.yaml"), sink, report)
    sink.flush()
    assert report.published == ROWS

    seen, places = {}, []
    for message in read_to_end(broker, [EVENTS]):
        event = decode_event(message.value())
        assert message.key() == event.user_id.encode()
        seen.setdefault(event.user_id, []).append(event.ts // 1_000)
        places.append((0, message.partition(), message.offset(), "updated", ""))
    assert seen == {user: [at for who, at in rows if who == user] for user, _ in rows}

    assert read_ledger(broker).missing == ROWS
    sender = producer(broker)
    for start in range(0, ROWS - 1, 100):
        chunk = places[start : min(start + 100, ROWS - 1)]
        sender.produce(AUDIT, encode(Outcomes("00", list(INPUTS), chunk)), "00")
    sender.flush()
    ledger = read_ledger(broker)
    last = places[-1]
    assert (ledger.inputs, ledger.missing) == (ROWS, 1)
    assert ledger.missing_first == [(EVENTS, last[1], last[2])]
    sender.produce(AUDIT, encode(Outcomes("00", list(INPUTS), places[-1:])), "00")
    sender.flush()
    assert read_ledger(broker).balanced


def test_the_ledger_names_a_decision_that_was_published_with_two_contents(broker):
    sender = producer(broker)
    for score in (0.25, 0.5):
        decision = {"decision_id": "d-7", "status": "send", "score": score}
        sender.produce(DECISIONS, json.dumps(decision), "ann")
    sender.flush()
    assert read_ledger(broker).decisions.conflicting_ids == ["d-7"]


def test_offsets_that_a_transaction_took_are_no_inputs(broker):
    before = read_ledger(broker)
    sender = producer(broker, **{"transactional.id": "beckon-test"})
    sender.init_transactions(30)
    sender.begin_transaction()
    sender.produce(EVENTS, b"{}", "ann")
    sender.commit_transaction(30)
    after = read_ledger(broker)
    assert (after.inputs, after.missing) == (before.inputs + 1, before.missing + 1)


def test_campaigns_are_published_once_changed_by_version_and_pruned(broker, tmp_path, monkeypatch):
    monkeypatch.setattr(campaigns, "Settings", lambda: broker)
    files = read_files([SHIPPED])
    campaigns.apply([SHIPPED])
    assert len(in_force(broker)) == len(files)
    end = offset_of_control(broker)
    campaigns.apply([SHIPPED])
    assert offset_of_control(broker) == end

    own = tmp_path / "win-back.yaml"
    own.write_text((SHIPPED / "win-back.yaml").read_text().replace("holdout: 10%", "holdout: 20%"))
    campaigns.apply([own])
    assert in_force(broker)["campaign/win-back"].version == 2
    assert in_force(broker)["campaign/win-back"].holdout_ratio == 0.2

    publish(broker, wanted([own], prune=True), "ann")
    assert in_force(broker).keys() == {"campaign/win-back", "policy/main"}
    assert "campaign/viewed-again" not in dict(control_snapshot(broker))

    campaigns.apply([SHIPPED], author="bob")
    assert in_force(broker)["campaign/viewed-again"].version == 2
    assert [
        (change.verb, change.version, change.author)
        for change in history(broker)
        if change.key == "campaign/viewed-again"
    ][1:] == [("withdrawn", 1, "ann"), ("new", 2, "bob")]


def test_of_two_who_publish_at_once_one_is_told_to_try_again(broker, tmp_path, monkeypatch):
    monkeypatch.setattr(campaigns, "Settings", lambda: broker)
    campaigns.apply([SHIPPED])
    own = tmp_path / "win-back.yaml"
    own.write_text((SHIPPED / "win-back.yaml").read_text().replace("holdout: 10%", "holdout: 30%"))
    before = in_force(broker)["campaign/win-back"].version

    def meanwhile(running, past):
        campaigns.pause(["win-back"], author="bob")
        return wanted([own])(running, past)

    with pytest.raises(UserMistake, match="somebody else publishes"):
        publish(broker, meanwhile, "ann")
    found = in_force(broker)["campaign/win-back"]
    assert (found.version, found.status) == (before + 1, "paused")


def wanted(paths, *, prune=False):
    return lambda running, past: plan(read_files(paths), running, 0, prune, past)


def offset_of_control(settings):
    return max(message.offset() for message in read_to_end(settings, [CONTROL]))


def test_why_reads_the_topics_of_a_broker(broker):
    event = {"event_id": "why-1", "user_id": "why-user", "action": "view", "ts": 1_700_000_000_000}
    sender, places = producer(broker), []
    sender.produce(
        EVENTS, encode(event), "why-user", on_delivery=lambda _error, sent: places.append(sent)
    )
    sender.flush(10)
    [sent] = places
    row = (0, sent.partition(), sent.offset(), "updated", "")
    sender.produce(AUDIT, encode(Outcomes("8888", list(INPUTS), [row])), "8888")
    sender.flush(10)
    found = explain("why-user", *read_topics(broker, 3_600_000, quiet=True))
    assert [(each.id, each.what, each.end) for each in found.inputs] == [
        ("why-1", "view", "updated")
    ]
    assert explain("why-user", *read_topics(broker, None, quiet=True)) == found
