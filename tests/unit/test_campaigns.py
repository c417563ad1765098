from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jobs.campaigns import commands as campaigns
from jobs.campaigns.changes import plan
from jobs.campaigns.files import Checked, read_file, read_files
from jobs.campaigns.vocabulary import names
from schemas.campaign_file import duration_ms, ratio
from schemas.control import AbsenceTrigger, Campaign, EventTrigger, Policy, control_key
from schemas.decision import Offer
from schemas.errors import UserMistake
from schemas.wire import decode_control, encode

SHIPPED = Path(__file__).resolve().parents[2] / "infra" / "campaigns"

SOUND = """\
kind: campaign
id: spring
name: Spring sale
trigger:
  kind: event
  actions: [view]
  at_least: 3
  within: 1h
  same: category
channels: [push, sms]
offer: {type: coupon, discount: 12.5%, valid: 3d}
cooldown: 0
holdout: 5%
"""

TEXTS = [
    SOUND,
    *(path.read_text() for path in sorted(SHIPPED.glob("*.yaml"))),
    *(path.read_text() for path in sorted((SHIPPED / "examples").glob("*.yaml"))),
]


@pytest.fixture
def written(tmp_path):
    def write(text, name="spring.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def refusal(path):
    with pytest.raises(UserMistake) as refused:
        read_file(path)
    return str(refused.value).replace(f"{path.parent}/", "").splitlines()


def test_a_file_in_human_units_becomes_the_record_of_the_contract(written):
    record = read_file(written(SOUND)).record
    assert record == Campaign(
        id="spring",
        version=1,
        name="Spring sale",
        trigger=EventTrigger(("view",), 3, 3_600_000, "category"),
        channels=("push", "sms"),
        offer=Offer("coupon", 0.125, 3),
        cooldown_ms=0,
        holdout_ratio=0.05,
    )


def test_an_absence_trigger_keeps_what_begins_and_what_ends_the_wait(written):
    trigger = "trigger: {kind: absence, after: [cart], without: [purchase], within: 30m}\n"
    head, tail = SOUND[: SOUND.index("trigger:")], SOUND[SOUND.index("channels:") :]
    record = read_file(written(head + trigger + tail)).record
    assert record.trigger == AbsenceTrigger(("cart",), ("purchase",), 1_800_000)


def test_the_shipped_files_are_sound_and_warn_of_nothing():
    files = read_files([SHIPPED])
    assert {control_key(file.record) for file in files} == {
        "campaign/viewed-again",
        "campaign/cart-reminder",
        "campaign/cart-abandonment",
        "campaign/win-back",
        "policy/main",
    }
    assert [warning for file in files for warning in file.warnings] == []


def test_the_shipped_policy_states_the_defaults_of_the_contract():
    assert read_file(SHIPPED / "policy.yaml").record == Policy()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("cooldown: 0", "cooldwon: 0", "12: cooldwon: unknown field; did you mean 'cooldown'?"),
        ("  within:", "  witin:", "8: trigger.witin: unknown field; did you mean 'within'?"),
        ("push, sms", "push, smss", "10: channels.1: 'smss' is not known; did you mean 'sms'?"),
        (
            "kind: event",
            "kind: evnt",
            "5: trigger.kind: 'evnt' is not known; did you mean 'event'?",
        ),
        ("1h", "100d", "8: trigger.within: at most 1d, not '100d'"),
        ("1h", "soon", "8: trigger.within: expected a duration: a whole number and its unit"),
        (
            "holdout: 5%",
            "holdout: 0.05",
            "13: holdout: expected a share in percent, such as 5% or 2.5%, not 0.05",
        ),
        ("holdout: 5%", "holdout: 60%", "13: holdout: at most 50%, not '60%'"),
        ("12.5%", "120%", "11: offer.discount: at most 100%"),
        ("id: spring", "id: Spring Sale", "2: id: expected lower-case letters, digits and dashes"),
        ("name: Spring sale\n", "", "1: the field 'name' is missing: what people call it"),
        ("name:", "id:", "3: the field 'id' is given twice"),
        ("[view]", "[view", "7: is no YAML: "),
        ("[view]", "[]", "6: trigger.actions: expected at least 1 in the list, not an empty list"),
        ("kind: campaign", "kind: campain", "1: kind: every file says `kind: campaign` or"),
        ("name: Spring sale", "name: *spring", "3: aliases (*name) are not read"),
        ("name: Spring sale", "name: 0b_", "3: '0b_' is no number"),
    ],
)
def test_a_mistake_names_file_line_field_and_fix(written, old, new, complaint):
    assert old in SOUND
    path = written(SOUND.replace(old, new, 1))
    assert any(line.startswith(f"spring.yaml:{complaint}") for line in refusal(path)), refusal(path)


def test_every_wrong_field_is_named_at_once(written):
    path = written(
        SOUND.replace("push", "pigeon").replace("spring", "S").replace("holdout: 5%", "holdout: 5")
    )
    assert len(refusal(path)) == 3


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"- a\n- b\n", b"? [1]\n: 2\n", b"a\x00b: 1\n"])
def test_what_is_no_campaign_at_all_is_refused_in_one_line(tmp_path, raw):
    path = tmp_path / "odd.yaml"
    path.write_bytes(raw)
    assert len(refusal(path)) == 1


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_whatsoever_make_a_traceback(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(raw)
    with pytest.raises(UserMistake):
        read_file(path)


@given(
    st.sampled_from(TEXTS).flatmap(
        lambda text: st.tuples(st.just(text), st.integers(0, len(text) - 1))
    ),
    st.characters(codec="ascii") | st.just(""),
)
def test_one_changed_character_gives_a_usable_record_or_a_mistake(tmp_path_factory, place, sign):
    text, at = place
    path = tmp_path_factory.getbasetemp() / "mutant.yaml"
    path.write_text(text[:at] + sign + text[at + 1 :])
    with suppress(UserMistake):
        record = read_file(path).record
        assert decode_control(encode(record)) == record


def test_a_zone_that_does_not_exist_is_refused(written):
    path = written("kind: policy\ndefault_zone: Europe/Atlantis\n", "policy.yaml")
    assert refusal(path)[0].startswith("policy.yaml:2: default_zone: 'Europe/Atlantis' is no IANA")


def test_an_action_that_looks_misspelt_is_a_warning_and_an_own_action_is_none(written):
    path = written(SOUND.replace("[view]", "[veiw, subscribed]"))
    (warning,) = read_file(path).warnings
    assert warning.endswith("spring.yaml:6: trigger.actions.0: 'veiw' is none of ours; "
                            "did you mean 'view'?")  # fmt: skip


def test_two_files_of_one_id_are_refused_with_both_names(written):
    first, second = written(SOUND, "a.yaml"), written(SOUND, "b.yaml")
    with pytest.raises(UserMistake, match=r"b\.yaml: campaign/spring is already in .*a\.yaml"):
        read_files([first, second])


def campaign(slug="spring", **changes):
    return replace(Campaign(slug, 1, "?", EventTrigger(("view",)), ("sms",)), **changes)


def checked(record):
    return Checked(Path("f.yaml"), record, ())


def force(*records):
    return {control_key(record): record for record in records}


def test_what_runs_already_is_not_published_again():
    running = campaign(version=4, updated_ms=99)
    assert plan([checked(campaign())], force(running), 1_000, prune=False) == []


def test_a_change_takes_the_next_version_and_a_newer_date():
    running = campaign(version=4, updated_ms=5_000)
    (change,) = plan([checked(campaign(name="other"))], force(running), 1_000, prune=False)
    assert change.after == campaign(name="other", version=5, updated_ms=5_001)


def test_a_new_campaign_starts_at_version_1():
    (change,) = plan([checked(campaign())], {}, 1_000, prune=False)
    assert (change.verb, change.after) == ("new", campaign(updated_ms=1_000))


def test_campaigns_of_no_file_are_withdrawn_only_by_prune_and_the_policy_never():
    running = force(campaign("old"), Policy())
    assert plan([], running, 1_000, prune=False) == []
    (change,) = plan([], running, 1_000, prune=True)
    assert (change.key, change.after) == ("campaign/old", None)


def test_one_bad_file_keeps_all_from_being_published(written, monkeypatch):
    monkeypatch.setattr(campaigns, "publish", lambda *_: pytest.fail("published"))
    paths = [written(SOUND, "a.yaml"), written("kind: campaign", "b.yaml")]
    with pytest.raises(UserMistake, match=r"b\.yaml"):
        campaigns.apply(paths)


def test_check_tells_what_is_sound_and_warns_of_what_is_odd(written, capsys):
    campaigns.check([written(SOUND + "period: {until: 2020-01-01}\n")])
    said = capsys.readouterr()
    assert said.out == "1 file is sound: campaign/spring\n"
    assert said.err.startswith("warning: ")
    assert "period.until: the campaign was over" in said.err


def test_the_names_that_conditions_know_are_listed_by_word(capsys):
    names(["gift", "monetary_90d"])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[:3] == ["audience", "rfm_monetary_90d", "number"]
    names()
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) > 200
    assert any(line.startswith("when      price ") for line in listed)
    with pytest.raises(UserMistake, match="no name has xyzzy"):
        names(["xyzzy"])


def test_prune_wants_a_whole_folder(written):
    with pytest.raises(UserMistake, match="whole folder"):
        campaigns.apply([written(SOUND)], prune=True)


def test_the_list_shows_campaigns_and_policy(monkeypatch, capsys):
    monkeypatch.setattr(campaigns, "running", lambda _: force(campaign(version=7), Policy()))
    campaigns.list_running()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:5] == ["spring", "v7", "active", "event,", "sms,"]
    assert lines[1].startswith("(policy)")


@pytest.mark.parametrize(
    ("text", "ms"), [(0, 0), ("250ms", 250), ("3s", 3_000), ("30m", 1_800_000), ("2h", 7_200_000)]
)
def test_durations_are_read_in_milliseconds(text, ms):
    assert duration_ms(text) == ms


def test_percents_are_exact_shares():
    assert [ratio(text) for text in ("0%", "5%", "12.5%", "100%")] == [0, 0.05, 0.125, 1]
