from datetime import date

import pytest
from rich.console import Console

from jobs.nightly import STEPS
from jobs.nightly.base import Fact, StepReport, StepStopped
from jobs.nightly.command import about, parse_day, told
from jobs.nightly.context import Context
from jobs.nightly.runner import run_step
from schemas.errors import UserMistake

DAY = date(2026, 11, 26)


@pytest.fixture
def make(tmp_path):
    def context(step="count", day=DAY, seed=42):
        return Context(
            step,
            archive_dir=tmp_path / "archive",
            data_dir=tmp_path,
            day=day,
            seed=seed,
            console=Console(quiet=True),
        )

    return context


@pytest.fixture
def table(tmp_path):
    def write(day, content=b"rows", name="part-0.parquet"):
        path = tmp_path / "archive" / "events" / f"day={day}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


def count(context):
    files = context.table("events", 2)
    if not files:
        raise StepStopped("no events")
    context.output("count.txt").write_text(str(sum(len(it.read_bytes()) for it in files)))
    return StepReport("Count", facts=(Fact("files", len(files)),))


def test_a_step_is_skipped_while_nothing_changed(make, table):
    table(DAY)
    first, ran = run_step(count, make())
    assert ran
    assert first.status == "done"
    assert set(first.writes) == {"count.txt"}
    assert first.peak_gib > 0
    again, ran = run_step(count, make())
    assert not ran
    assert again == first


@pytest.mark.parametrize("change", ["content", "one more file", "seed", "output", "force"])
def test_a_step_runs_again_when_something_changed(make, table, change):
    table(DAY)
    run_step(count, make())
    seed = 42
    match change:
        case "content":
            table(DAY, b"others")
        case "one more file":
            table(DAY, name="part-1.parquet")
        case "seed":
            seed = 7
        case "output":
            make().output("count.txt").unlink()
    assert run_step(count, make(seed=seed), force=change == "force")[1]


def test_a_day_outside_the_window_changes_nothing(make, table):
    table(DAY)
    run_step(count, make())
    table("2026-11-24", b"older")
    table("2026-11-27", b"newer")
    assert not run_step(count, make())[1]


def test_a_stopped_step_keeps_its_reason_and_no_output_and_is_tried_again(make, table):
    def half(context):
        context.output("half.txt").write_text("half")
        return count(context)

    stopped, _ = run_step(half, make())
    assert (stopped.status, stopped.reason, stopped.writes) == ("stopped", "no events", {})
    assert not (make().folder / "half.txt").exists()
    report, manifest = make("other").told("count")
    assert report.warnings == ("stopped: no events",)
    assert manifest == stopped
    assert "STOPPED: no events" in told(stopped, True)
    table(DAY)
    assert run_step(half, make())[0].status == "done"


def test_an_interrupted_step_is_not_taken_for_done(make, table):
    table(DAY)
    run_step(count, make())

    def killed(context):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_step(killed, make(), force=True)
    assert run_step(count, make())[1]


def test_what_another_step_did_not_write_stops_a_step_and_names_the_command(make):
    with pytest.raises(StepStopped, match="beckon nightly count"):
        make("next").result("count", "count.txt")


def test_the_newest_earlier_night_is_found_and_watched(make, table):
    table(DAY)
    run_step(count, make())
    later = make("next", day=date(2026, 11, 28))
    assert later.before("count", "count.txt") == make().folder / "count.txt"
    assert make().before("count", "count.txt") is None
    assert [name for name, _ in later.reads] == [str(make().folder / "count.txt")]


def test_each_step_says_in_one_line_what_it_does():
    for name, step in STEPS.items():
        assert 20 < len(about(step)) < 100, name


def test_a_day_is_read_as_a_date():
    assert parse_day("2026-11-26") == DAY
    with pytest.raises(UserMistake, match="2026-11-26"):
        parse_day("26.11.")


def test_an_empty_archive_stops_the_first_step(make):
    manifest, _ = run_step(STEPS["tables"], make("tables"))
    assert "holds no table" in manifest.reason


def test_a_file_that_is_no_parquet_stops_the_first_step_and_is_named(make, table):
    path = table(DAY)
    manifest, _ = run_step(STEPS["tables"], make("tables"))
    assert str(path) in manifest.reason
