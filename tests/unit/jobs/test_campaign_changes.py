"""What is published, in what order of versions, and what is told of it."""

from pathlib import Path

import msgspec
import pytest
from confluent_kafka import KafkaError, KafkaException
from msgspec.structs import replace

from jobs.campaigns import changes as module
from jobs.campaigns import commands
from jobs.campaigns.changes import history, plan, publish, switch
from jobs.campaigns.differences import differences
from jobs.campaigns.files import Checked
from jobs.models.registry import Registry
from jobs.settings import Settings
from schemas.change import Change
from schemas.control import Campaign, EventTrigger, Policy, Shop, control_key
from schemas.errors import UserMistake
from schemas.model import variant_model_id
from schemas.topics import CHANGES, CONTROL
from schemas.triggers import HoursTrigger, Span
from schemas.wire import decode_control, encode
from tests.published import Message
from tests.unit.models.made import artefact

NOW_MS = 1_700_000_000_000


def campaign(slug="spring", **changes):
    return replace(Campaign(slug, 1, "?", EventTrigger(("view",)), ("sms",)), **changes)


def checked(record, **fields):
    return Checked(Path("f.yaml"), record, **fields)


def force(*records):
    return {control_key(record): record for record in records}


class Broker:
    """Kafka as these commands use it: the two topics, and one transaction at a time."""

    def __init__(self):
        self.topics = {CONTROL: [], CHANGES: []}
        self.refuses = None
        self.awaited = {}
        self._open = []

    def init_transactions(self, _):
        self._open = []

    def begin_transaction(self):
        self._open = []

    def produce(self, topic, key, value, on_delivery):
        self._open.append((topic, key, value, on_delivery))

    def commit_transaction(self, _):
        if self.refuses is not None:
            raise KafkaException(self.refuses)
        for topic, key, value, on_delivery in self._open:
            self.topics[topic].append((key, value))
            on_delivery(None, Message(value, key, topic, len(self.topics[topic]) - 1))

    def wait(self, _, upto):
        self.awaited = upto

    def read(self, _, topics):
        (topic,) = topics
        return [Message(value, key, topic) for key, value in self.topics[topic]]

    def snapshot(self, _):
        newest = dict(self.topics[CONTROL])
        return [(key, value) for key, value in newest.items() if value is not None]


@pytest.fixture
def broker(monkeypatch):
    broker = Broker()
    monkeypatch.setattr(module, "producer", lambda *_, **__: broker)
    monkeypatch.setattr(module, "read_to_end", broker.read)
    monkeypatch.setattr(module, "control_snapshot", broker.snapshot)
    monkeypatch.setattr(module, "wait_until_readable", broker.wait)
    monkeypatch.setattr(commands, "ensure_topics", lambda _: [])
    return broker


def apply(broker, *files, at_ms=NOW_MS, prune=False, author="ann"):
    def wanted(in_force, past):
        return plan(files, in_force, at_ms, prune, past)

    return publish(Settings(), wanted, author)


def in_force(broker):
    return {key: decode_control(value) for key, value in broker.snapshot(None)}


def test_every_change_is_published_with_a_record_of_who_and_when(broker):
    (change,) = apply(broker, checked(campaign()))
    assert (change.author, change.at_ms, change.version, change.verb) == ("ann", NOW_MS, 1, "new")
    assert history(Settings()) == [change]
    assert in_force(broker) == force(change.after)
    assert broker.awaited == {(CONTROL, 0): 1, (CHANGES, 0): 1}


def test_unchanged_files_publish_nothing(broker):
    apply(broker, checked(campaign()))
    before = {topic: list(records) for topic, records in broker.topics.items()}
    assert apply(broker, checked(campaign()), at_ms=NOW_MS + 1) == []
    assert broker.topics == before


def test_a_campaign_that_was_withdrawn_and_comes_back_goes_on_with_its_versions(broker):
    apply(broker, checked(campaign()))
    apply(broker, checked(campaign(name="other")))
    (gone,) = apply(broker, prune=True)
    assert (gone.verb, gone.version, gone.after) == ("withdrawn", 2, None)
    (back,) = apply(broker, checked(campaign()))
    assert (back.verb, back.version) == ("new", 3)
    assert in_force(broker)["campaign/spring"].version == 3


def test_what_the_broker_refuses_leaves_everything_as_it_was(broker):
    apply(broker, checked(campaign()))
    before = in_force(broker)
    broker.refuses = KafkaError(KafkaError._FENCED, fatal=True)
    with pytest.raises(UserMistake, match="somebody else publishes"):
        apply(broker, checked(campaign(name="other")), checked(campaign("autumn")))
    broker.refuses = KafkaError(KafkaError._TIMED_OUT)
    with pytest.raises(UserMistake, match="nothing was published"):
        apply(broker, checked(campaign(name="other")))
    assert in_force(broker) == before


def test_a_history_with_a_record_of_another_release_is_read_without_it(broker):
    broker.topics[CHANGES].append(("campaign/old", b'{"verb": "renamed"}'))
    apply(broker, checked(campaign()))
    assert [change.key for change in history(Settings())] == ["campaign/spring"]


def test_a_paused_campaign_takes_a_version_and_goes_on_as_it_was(broker):
    apply(broker, checked(campaign()))

    def change(status):
        return publish(
            Settings(), lambda running, _: switch(["spring"], status, running, NOW_MS), "bob"
        )

    (paused,) = change("paused")
    assert (paused.verb, paused.version, paused.after.status) == ("paused", 2, "paused")
    assert change("paused") == []
    (resumed,) = change("active")
    assert (resumed.verb, resumed.version) == ("resumed", 3)
    assert replace(resumed.after, version=1, updated_ms=NOW_MS) == in_order(broker)[0].after


def in_order(broker):
    return [msgspec.json.decode(value, type=Change) for _, value in broker.topics[CHANGES]]


def test_a_change_of_the_same_millisecond_is_newer_all_the_same():
    before = campaign(updated_ms=NOW_MS)
    (change,) = switch(["spring"], "paused", force(before), NOW_MS)
    assert change.after.updated_ms == change.at_ms == NOW_MS + 1


def test_pausing_what_does_not_run_names_the_nearest():
    with pytest.raises(UserMistake, match="did you mean 'spring'"):
        switch(["sprong"], "paused", force(campaign(), Policy()), NOW_MS)
    with pytest.raises(UserMistake, match="campaigns list"):
        switch(["main"], "paused", force(Policy()), NOW_MS)


def test_a_file_that_does_not_speak_of_status_leaves_a_paused_campaign_paused():
    running = force(campaign(status="paused", version=2))
    silent = checked(campaign(), states_status=False)
    assert plan([silent], running, NOW_MS, prune=False) == []
    (change,) = plan(
        [checked(campaign(name="x"), states_status=False)], running, NOW_MS, prune=False
    )
    assert (change.verb, change.after.status) == ("changed", "paused")
    (change,) = plan([checked(campaign())], running, NOW_MS, prune=False)
    assert (change.verb, change.after.status) == ("resumed", "active")


def test_differences_are_told_in_the_words_of_the_file():
    hours = HoursTrigger(("view",), (Span(840, 960),))
    before = campaign(trigger=hours, holdout_ratio=0.05, cooldown_ms=0, ends_ms=NOW_MS)
    after = campaign(
        version=9,
        updated_ms=7,
        trigger=replace(hours, spans=(Span(840, 1_000), Span(0, 60))),
        holdout_ratio=0.125,
        cooldown_ms=5_400_000,
        channels=("sms", "push"),
        audience="rfm_monetary_90d > 1",
    )
    assert sorted(differences(before, after)) == [
        "audience: nothing → rfm_monetary_90d > 1",
        "channels: [sms] → [sms, push]",
        "cooldown: 0 → 90m",
        "holdout: 5% → 12.5%",
        "period.until: 2023-11-14 22:13:20Z → nothing",
        "trigger.spans: [14:00-16:00] → [14:00-16:40, 00:00-01:00]",
    ]
    assert differences(before, replace(before, version=5, updated_ms=3)) == []


SOUND = """\
kind: campaign
id: spring
name: Spring sale
trigger: {kind: event, actions: [view]}
channels: [email]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "spring.yaml"
    path.write_text(SOUND)
    return path


def test_diff_shows_what_apply_then_does_and_publishes_nothing(broker, file, capsys):
    commands.diff([file])
    assert broker.topics == {CONTROL: [], CHANGES: []}
    shown = capsys.readouterr().out
    commands.apply([file], author="ann")
    assert capsys.readouterr().out == shown.replace("would change", "published")
    file.write_text(SOUND + "holdout: 10%\n")
    commands.diff([file])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["changed", "campaign/spring", "(version", "2)"]
    assert lines[1].strip() == "holdout: 0% → 10%"
    assert lines[2] == "1 would change, 0 unchanged"


def test_pause_resume_and_history_tell_each_version_with_its_author(broker, file, capsys):
    commands.apply([file], author="ann")
    commands.pause(["spring"], author="bob")
    commands.apply([file], author="eve")  # unchanged, and paused it stays
    commands.resume(["spring"], author="bob")
    commands.pause(["spring"], author="bob")
    capsys.readouterr()
    commands.pause(["spring"], author="bob")
    assert capsys.readouterr().out == "1 is paused already\n"
    commands.show_history("spring")
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith("  ann")
    assert [line.split()[0] for line in told if "version" in line] == [
        *("new", "paused", "resumed", "paused"),
    ]
    assert [line.strip() for line in told if "status" in line] == [
        *("status: active → paused", "status: paused → active", "status: active → paused"),
    ]
    with pytest.raises(UserMistake, match="no change of autumn was ever published"):
        commands.show_history("autumn")


def test_a_channel_that_the_policy_in_force_gives_no_cost_is_refused_at_apply(broker, file):
    broker.topics[CONTROL].append(("policy/main", encode(Policy(channel_cost={"sms": 0.05}))))
    with pytest.raises(UserMistake, match=r"spring\.yaml:5: channels\.0: nobody says what"):
        commands.apply([file], author="ann")


def test_what_a_campaign_needs_and_nobody_has_published_is_warned_of(broker, tmp_path, capsys):
    path = tmp_path / "near.yaml"
    path.write_text(
        SOUND.replace("{kind: event, actions: [view]}", "{kind: fence, chain: corner-shops}")
    )
    commands.apply([path], author="ann")
    (warning,) = capsys.readouterr().err.splitlines()
    assert "near.yaml:4: trigger.chain: no shop of the chain 'corner-shops' is published" in warning
    shop = Shop("north", "corner-shops", 52.5, 13.4)
    broker.topics[CONTROL].append((control_key(shop), encode(shop)))
    commands.diff([path])
    assert capsys.readouterr().err == ""


def test_a_policy_that_takes_the_cost_from_a_running_campaign_is_refused(broker, tmp_path):
    apply(broker, checked(campaign(channels=("sms", "email"))))
    path = tmp_path / "policy.yaml"
    path.write_text("kind: policy\nchannel_cost: {email: 0.004}\n")
    with pytest.raises(UserMistake, match=r"policy\.yaml:2: channel_cost: spring is in force"):
        commands.apply([path], author="ann")


def test_the_author_is_who_is_logged_in_unless_said(broker, file, monkeypatch):
    monkeypatch.setattr(commands.getpass, "getuser", lambda: "ann")
    commands.apply([file])
    assert history(Settings())[0].author == "ann"
    monkeypatch.setattr(commands.getpass, "getuser", lambda: (_ for _ in ()).throw(KeyError()))
    with pytest.raises(UserMistake, match="--author"):
        commands.apply([file])


def test_a_variants_model_is_brought_before_its_experiment_and_withdrawn_after_it(
    broker, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("BECKON_DATA_DIR", str(tmp_path))

    def announce(announced, _settings):
        for key, record in announced:
            broker.topics[CONTROL].append((key, None if record is None else encode(record)))

    monkeypatch.setattr("jobs.models.commands.announce", announce)
    Registry(tmp_path).add(artefact("ctr-2"))
    path = tmp_path / "x.yaml"
    path.write_text(
        "kind: experiment\nid: which\ncampaigns: [spring]\nvariants:\n"
        "  - {name: a, share: 50%}\n  - {name: b, share: 50%, model: ctr-2}\n"
    )
    commands.apply([path], author="ann")
    held = f"model/{variant_model_id('ctr-2')}"
    assert [key for key, _ in broker.topics[CONTROL]] == [held, "experiment/which"]
    assert in_force(broker)[held].version == "ctr-2"
    commands.apply([path], author="ann")
    assert len(broker.topics[CONTROL]) == 2
    path.write_text(path.read_text().replace(", model: ctr-2", ""))
    commands.apply([path], author="ann")
    assert set(in_force(broker)) == {"experiment/which"}
    assert "withdrawn model ctr-2" in capsys.readouterr().out
