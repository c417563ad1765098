"""A small day on real servers, with a crash and a rescale, judged by who shares no code with it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.day import rules
from benchmarks.day.driver import Day
from benchmarks.day.judge import KINDS
from benchmarks.day.replay import digest, replay
from benchmarks.prove_decisions import asked_why, differences, judged, read, recorded
from benchmarks.prove_stream import balanced
from benchmarks.servers import free_settings, running
from jobs import kafka
from jobs.demo.command import publish
from jobs.run import start_stream, stop_stream
from schemas import topics
from schemas.decision import Decision

pytestmark = [pytest.mark.flink, pytest.mark.stack, pytest.mark.slow]

EVENTS = 6_000


def test_a_day_with_a_crash_and_a_rescale_is_decided_as_it_would_be_without(
    tmp_path: Path,
) -> None:
    settings = free_settings(tmp_path, checkpoint_interval_ms=1_000)
    control = rules.control(EVENTS)
    with running(settings, "kafka", "flink") as stack:
        kafka.ensure_topics(settings)
        publish(settings, control)
        start_stream(settings, fresh=True)
        day = Day(settings, stack, EVENTS, seed=2, killed_in=(1,))
        day.run()
        ledger = balanced(settings)
        inputs = recorded(settings, day.marks)
        values = [message.value() or b"" for message in read(settings, topics.DECISIONS)]
        asked, silent = asked_why(settings, control, seed=2)
        stop_stream(day.settings)

    judge = judged(inputs, values, EVENTS)
    assert judge.violations == dict.fromkeys(KINDS, 0), judge.examples
    assert judge.by_campaign.keys() == {spec.id for spec in rules.campaigns(EVENTS)}
    assert ledger.balanced, ledger.faults
    assert (asked > 200, silent) == (True, [])
    published = [msgspec.json.decode(value, type=Decision) for value in values]
    again = list(replay(inputs, control, published))
    assert differences(published, again) == []
    assert digest(again, control) == digest(published, control)
