from __future__ import annotations

from pathlib import Path

import pytest

from jobs.audit import command, whatif
from jobs.audit.command import audit
from jobs.audit.recorded import Entry
from jobs.audit.whatif import in_force
from jobs.replay.command import replay
from schemas.errors import UserMistake
from schemas.topics import EVENTS
from tests.builders import THIRD_VIEW_FILE


def test_what_holds_no_inputs_cannot_be_replayed() -> None:
    with pytest.raises(UserMistake, match=r"inputs are recorded in beckon\.events"):
        audit(["beckon.decisions.v1"], "", "")


def test_a_span_must_end_after_it_begins() -> None:
    with pytest.raises(UserMistake, match="is not before"):
        audit([EVENTS], "1h", "2h")


def test_replay_takes_files_or_a_topic() -> None:
    with pytest.raises(UserMistake, match="not both"):
        replay(files=[Path("a.csv")], topic=[EVENTS])
    with pytest.raises(UserMistake, match="give files and their --mapping"):
        replay()


def test_what_was_in_force_is_the_newest_of_each_key_up_to_then() -> None:
    log = [
        Entry(0, 1, "a", b"1"),
        Entry(1, 2, "b", b"1"),
        Entry(2, 3, "a", b"2"),
        Entry(3, 4, "b", None),
    ]
    assert in_force(log, 2) == {"a": b"1", "b": b"1"}
    assert in_force(log, 3) == {"b": b"1", "a": b"2"}
    assert in_force(log, 9) == {"a": b"2"}


def test_a_policy_is_asked_of_the_log_alone() -> None:
    with pytest.raises(UserMistake, match="leave out --campaigns"):
        audit([EVENTS], "2h", "", [Path("a.yaml")], "", "uniform")


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker on which nothing was recorded."""
    for module in (command, whatif):
        for name in ("inputs", "control_log", "made", "steps", "config"):
            monkeypatch.setattr(module, name, lambda _settings: [], raising=False)


@pytest.mark.usefixtures("nothing")
def test_where_nothing_was_recorded_nothing_is_called_equal(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match=r"nothing was decided from .* earlier --from"):
        audit([EVENTS], "2h", "")
    path = tmp_path / "some.yaml"
    path.write_text(THIRD_VIEW_FILE)
    with pytest.raises(UserMistake, match=r"nothing was recorded from .* earlier --from"):
        audit([EVENTS], "2h", "", [path])


@pytest.mark.parametrize(("since", "until", "named"), [("now", "", "--from"), ("2h", "x", "--to")])
def test_a_time_that_is_none_is_told_by_the_name_of_its_option(
    since: str, until: str, named: str
) -> None:
    with pytest.raises(UserMistake, match=f"^{named} '"):
        audit([EVENTS], since, until)
