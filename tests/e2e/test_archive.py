"""The archiver as a process, on a real broker, killed while the topics fill."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from contextlib import AbstractContextManager

import pyarrow.parquet as pq
import pytest

from benchmarks.servers import free_port
from jobs import kafka
from jobs.archive.parity import CHECKED, MISMATCHED
from jobs.archive.read import days, files, read_day
from jobs.archive.tables import BY_TOPIC, EVENTS, EXAMPLES, TABLES
from jobs.archive.write import read_manifest
from jobs.settings import Settings
from schemas import topics
from schemas.control import control_key
from schemas.event import BehaviorEvent
from schemas.wire import encode
from scoring.features import FEATURES
from scoring.model import verify
from scoring.onnx_export import model_record
from tests.processes import PATIENCE_S, command, metrics, service, settings_with
from tests.unit.archive.rows import AT, example, reward

pytestmark = pytest.mark.stack

KILLS = 6
EXAMPLES_SENT = 6_000

settings = settings_with("kafka", archive_metrics_port=free_port())


def archiver(settings: Settings) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return service(settings, "archive", "--every-s", "0.2", "--most", "700", says=b"archiving")


def test_no_record_is_lost_or_repeated_however_often_it_is_killed(settings: Settings) -> None:
    draw = random.Random(5)
    model = model_record([draw.uniform(-1, 1) for _ in FEATURES], -1.0, "ctr-e2e")
    score = verify(model).score
    out = kafka.producer(settings)
    out.produce(topics.CONTROL, encode(model), control_key(model))
    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        for number in range(sent, sent + count):
            features = [draw.uniform(-2, 2) for _ in FEATURES]
            record = example(
                f"d{number}",
                AT + number * 20_000,
                features=features,
                score=score(features),
                model_version=model.version,
            )
            out.produce(topics.EXAMPLES, encode(record), record.decision_id)
            out.produce(topics.REWARDS, encode(reward(f"d{number}", "clicked", AT)), "c/sms")
            event = BehaviorEvent(f"e{number}", f"u{number % 50}", "view", AT + number)
            out.produce(topics.EVENTS, encode(event), event.user_id)
        out.produce(topics.EVENTS, b"{broken", "x")
        sent += count
        out.flush()

    for _ in range(KILLS):
        with archiver(settings) as process:
            until = time.monotonic() + draw.uniform(0.05, 1.2)
            while time.monotonic() < until:
                send(100)
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.wait()
    send(max(1, EXAMPLES_SENT - sent))
    marks = kafka.watermarks(settings, list(BY_TOPIC))
    ends = {f"{topic}/{partition}": high for (topic, partition), (_, high) in marks.items() if high}
    with archiver(settings) as process:
        deadline = time.monotonic() + PATIENCE_S
        while read_manifest(settings.archive).offsets != ends:
            assert time.monotonic() < deadline, read_manifest(settings.archive)
            time.sleep(0.1)
        shown = metrics(settings.archive_metrics_port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    root = settings.archive
    places: list[tuple[str, int, int]] = []
    for table in TABLES.values():
        for day in days(root, table):
            for path in files(root, table, day):
                found = pq.read_table(path, partitioning=None)
                places += zip(
                    [table.topic] * len(found),
                    found["topic_partition"].to_pylist(),
                    found["topic_offset"].to_pylist(),
                    strict=True,
                )
    assert len(places) == len(set(places))
    counted = read_manifest(root).counted
    assert len(places) + counted["refused"] == sum(ends.values())
    names = [
        name
        for day in days(root, EXAMPLES)
        for name in read_day(root, EXAMPLES, day)["decision_id"].to_pylist()
    ]
    assert sorted(names) == sorted(f"d{number}" for number in range(sent))
    assert shown['beckon_archive_rows_total{table="examples"}'] == sent
    assert shown["beckon_archive_parity_checked_total"] == sent
    assert counted[CHECKED] == sent
    assert counted.get(MISMATCHED, 0) == 0


def test_a_customer_is_erased_while_the_archiver_runs(settings: Settings) -> None:
    out = kafka.producer(settings)
    with archiver(settings) as process:
        for number in range(20):
            event = BehaviorEvent(f"x{number}", "u7", "view", AT + number)
            out.produce(topics.EVENTS, encode(event), event.user_id)
            out.flush()
            if number == 10:
                erasing = command(settings, "archive", "erase", "u7")
                output, _ = erasing.communicate(timeout=PATIENCE_S)
                assert erasing.returncode == 0, output.decode()
                assert b"events" in output
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    users = {
        user
        for day in days(settings.archive, EVENTS)
        for user in read_day(settings.archive, EVENTS, day)["user_id"].to_pylist()
    }
    assert users
    assert "u7" not in users
