"""The stream on a real Kafka and a real Flink cluster: through crashes, stops and new code."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from benchmarks.servers import free_settings, kill, running
from jobs import kafka, restore
from jobs.cluster import Cluster
from jobs.demo.services import environment
from jobs.run import start_stream, stop_stream
from jobs.settings import Settings
from jobs.stack.local import LocalStack
from operators.shipping import PACKAGES
from schemas import topics
from schemas.control import control_key
from schemas.errors import UserMistake
from schemas.wire import encode
from tests.builders import on_cart, policy

pytestmark = [pytest.mark.flink, pytest.mark.stack]

PATIENCE_S = 180
Place = tuple[str, int, int]

_serial = count()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, LocalStack]]:
    folder = tmp_path_factory.mktemp("pipeline")
    settings = free_settings(folder, checkpoint_interval_ms=1_000, task_manager_memory_mb=2_048)
    with running(settings, "kafka", "flink") as local:
        kafka.ensure_topics(settings)
        producer = kafka.producer(settings)
        for record in (policy(), on_cart()):
            producer.produce(topics.CONTROL, encode(record), control_key(record))
        producer.flush()
        start_stream(settings)
        yield settings, local


def event(user: str, action: str = "view", **fields: Any) -> dict[str, Any]:
    now_ms = int(time.time() * 1_000)
    return {
        "event_id": f"e{next(_serial)}", "user_id": user, "action": action, "ts": now_ms, **fields
    }  # fmt: skip


def consenting(user: str) -> dict[str, Any]:
    allowed = {"marketing": True, "sms": True, "push": True, "email": True}
    return event(user, "login", consent=allowed)


def send(settings: Settings, *payloads: Any, topic: str = topics.EVENTS) -> set[Place]:
    """Put payloads on a topic, each customer's on one partition; returns where they lie."""
    placed: set[Place] = set()

    def delivered(error: Any, message: Any) -> None:
        assert error is None, error
        placed.add((topic, message.partition(), message.offset()))

    producer = kafka.producer(settings)
    for payload in payloads:
        raw = encode(payload) if isinstance(payload, dict) else payload
        key = payload["user_id"] if isinstance(payload, dict) else None
        producer.produce(topic, raw, key, on_delivery=delivered)
        producer.poll(0)
    producer.flush()
    return placed


def records(settings: Settings, *names: str) -> list[dict[str, Any]]:
    found = kafka.read_to_end(settings, names)
    return [json.loads(value) for each in found if (value := each.value()) is not None]


def rows(settings: Settings) -> list[tuple[Place, str, str, str]]:
    """Every audited end: place, end, reason, shard."""
    return [
        ((audit["topics"][row[0]], row[1], row[2]), row[3], row[4], audit["shard"])
        for audit in records(settings, topics.AUDIT)
        if audit["kind"] == "outcomes"
        for row in audit["rows"]
    ]


def ends_of(settings: Settings, places: set[Place]) -> dict[Place, list[tuple[str, str]]]:
    """The ends of these inputs, once each has one."""

    def all_ended() -> bool:
        ends.clear()
        for place, end, reason, _shard in rows(settings):
            if place in places:
                ends[place].append((end, reason))
        return len(ends) == len(places)

    ends: dict[Place, list[tuple[str, str]]] = defaultdict(list)
    eventually(all_ended, lambda: f"{len(places) - len(ends)} of {len(places)} inputs have no end")
    return ends


def eventually(holds: Callable[[], bool], trouble: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, trouble()
        time.sleep(0.5)


def test_every_input_has_one_end_and_broken_bytes_come_back_whole(
    stack: tuple[Settings, LocalStack],
) -> None:
    settings, _ = stack
    broken = [
        bytes(range(256)),
        bytes(reversed(range(256))),
        b"",
        b"{",
        b"\x1f" * 9,
        b'{"a":"\x00"}',
    ]
    places = send(settings, *broken, *(event(f"user-{n % 300}") for n in range(3_000)))

    ends = ends_of(settings, places)

    assert Counter(end for [(end, _)] in ends.values()) == {"updated": 3_000, "dead": len(broken)}
    letters = records(settings, topics.DEAD_LETTERS)
    assert {each["sha256"] for each in letters} >= {hashlib.sha256(b).hexdigest() for b in broken}


def test_a_partition_is_taken_in_its_order_within_a_shard(
    stack: tuple[Settings, LocalStack],
) -> None:
    settings, _ = stack
    ends_of(settings, send(settings, *(event(f"ordered-{n % 50}") for n in range(5_000))))

    seen: dict[tuple[str, int, str], int] = {}
    for (topic, partition, offset), _end, _reason, shard in rows(settings):
        assert offset > seen.get((topic, partition, shard), -1)
        seen[topic, partition, shard] = offset


def test_a_click_on_a_decision_teaches_its_arm(stack: tuple[Settings, LocalStack]) -> None:
    settings, _ = stack
    ends_of(settings, send(settings, consenting("clicker")))
    ends_of(settings, send(settings, event("clicker", "cart", item_category="shoes")))
    [decision] = [d for d in records(settings, topics.DECISIONS) if d["user_id"] == "clicker"]
    clicked = {
        "outcome_id": f"o{next(_serial)}", "user_id": "clicker", "kind": "clicked",
        "decision_id": decision["decision_id"], "ts": int(time.time() * 1_000),
    }  # fmt: skip

    ends_of(settings, send(settings, clicked, topic=topics.OUTCOMES))

    def learned() -> bool:
        found = [r for r in records(settings, topics.CONTROL) if r["kind"] == "posterior"]
        return {r["channel"] for r in found if r["alpha"] == 2.0} == {decision["channel"]}

    eventually(learned, lambda: "no posterior with a click on the control topic")


def test_a_stopped_stream_resumes_with_its_state_and_what_came_meanwhile(
    stack: tuple[Settings, LocalStack],
) -> None:
    settings, _ = stack
    first = event("patient")
    ends_of(settings, send(settings, first, consenting("patient")))
    with pytest.raises(UserMistake, match="runs already"):
        start_stream(settings)

    savepoint = stop_stream(settings)
    assert savepoint is not None
    assert stop_stream(settings) is None
    meanwhile = send(settings, first, event("patient", "cart", item_category="shoes"))
    started = start_stream(settings)

    assert started.resumed == savepoint
    ends = ends_of(settings, meanwhile)
    assert sorted(end for [(end, _)] in ends.values()) == ["decided", "duplicate"]
    assert all(number == 1 for number in Counter(row[0] for row in rows(settings)).values())


def test_a_killed_task_manager_loses_nothing_and_says_nothing_twice_differently(
    stack: tuple[Settings, LocalStack],
) -> None:
    settings, local = stack
    users = [f"crash-{n}" for n in range(200)]
    places = send(settings, *map(consenting, users))
    for number in range(30):
        burst = [event(user, "cart", item_category="shoes") for user in users]
        places |= send(settings, *burst)
        if number == 15:
            kill(local, "taskmanager-1")
            local.up(["flink"])

    ends = ends_of(settings, places)

    assert all(len({end for end, _ in each}) == 1 for each in ends.values())
    contents: dict[str, set[bytes]] = defaultdict(set)
    for message in kafka.read_to_end(settings, [topics.DECISIONS]):
        raw = message.value() or b""
        contents[json.loads(raw)["decision_id"]].add(raw)
    assert [key for key, each in contents.items() if len(each) > 1] == []


def test_a_stream_that_died_resumes_from_its_newest_checkpoint(
    stack: tuple[Settings, LocalStack],
) -> None:
    settings, _ = stack
    seen = event("revenant")
    ends_of(settings, send(settings, seen))
    time.sleep(3 * settings.checkpoint_interval_ms / 1_000)
    cluster = Cluster(settings.flink)
    job = cluster.running("beckon")
    assert job is not None
    cluster.cancel(job)
    point = restore.latest(settings)
    assert point is not None

    started = start_stream(settings)

    assert started.resumed == point.path
    assert job in point.path
    [end] = ends_of(settings, send(settings, seen)).values()
    assert end == [("duplicate", "")]


def test_a_state_that_is_not_there_is_refused_in_words(stack: tuple[Settings, LocalStack]) -> None:
    settings, _ = stack
    stop_stream(settings)

    with pytest.raises(UserMistake, match="no savepoint or checkpoint at /nowhere"):
        start_stream(settings, origin="/nowhere")


def test_workers_run_the_code_that_was_submitted_not_what_they_have(
    stack: tuple[Settings, LocalStack], tmp_path: Path
) -> None:
    settings, _ = stack
    stop_stream(settings)
    for package in PACKAGES:
        shutil.copytree(package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    batch = tmp_path / "operators" / "batch.py"
    code = batch.read_text()
    changed = code.replace('Step("dead", error.reason, [])', 'Step("dead", "new-code", [])')
    assert changed != code
    batch.write_text(changed)

    done = subprocess.run(
        [sys.executable, "-c", "from jobs.cli import main; main()", "run"],
        cwd=tmp_path,
        env={
            **environment(settings),
            "BECKON_INFRA_DIR": str(settings.infra),
            "PYTHONPATH": str(tmp_path),
        },
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    [end] = ends_of(settings, send(settings, b"broken")).values()
    assert end == [("dead", "new-code")]
