"""The projector as a process, on a real broker, Redis and HBase, while stores come and go."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

import pytest
from confluent_kafka import TopicPartition
from redis import Redis

from benchmarks.live import lag
from benchmarks.servers import free_settings, kill, running
from jobs import kafka
from jobs.demo.services import environment
from jobs.projector import group
from jobs.settings import Settings
from jobs.stack.local import LocalStack
from jobs.views import open_view
from schemas.topics import CONTROL, DECISIONS, PROFILES
from state.stores import STORES
from state.stores.learned import Learned
from state.stores.memory import MemoryView
from tests.published import Record, batch, decision, message, mix, posterior, shadow, story

pytestmark = pytest.mark.stack

PATIENCE_S = 120


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, LocalStack]]:
    settings = free_settings(tmp_path_factory.mktemp("projector"))
    with running(settings, "kafka", "redis", "hbase", "thrift") as local:
        kafka.ensure_topics(settings)
        yield settings, local


@contextmanager
def projector(settings: Settings, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which must end well once it is asked to, unless the test ended it."""
    with subprocess.Popen(
        [sys.executable, "-c", "from jobs.cli import main; main()", "projector", *options],
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        try:
            while b"projecting" not in (line := process.stdout.readline()):
                assert line, "it ended by itself"
            yield process
            if process.poll() is not None:
                return
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, output.decode()
        finally:
            if process.poll() is None:
                process.kill()


def publish(settings: Settings, records: Sequence[Record]) -> None:
    producer = kafka.producer(settings)
    for record in records:
        told = message(record)
        producer.produce(told.topic(), told.value(), told.key())
    producer.flush()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to it"
        time.sleep(0.2)


def caught_up(settings: Settings, *stores: str) -> None:
    for store in stores:
        eventually(lambda store=store: lag(settings, store) == 0)  # type: ignore[misc]


def redis_digest(settings: Settings) -> str:
    """A hash of every key and value."""
    redis = Redis.from_url(settings.redis)
    digest = hashlib.sha256()
    for key in sorted(redis.scan_iter("user:*")):
        value = redis.get(key) if key.endswith(b":profile") else sorted(redis.hgetall(key).items())
        digest.update(repr((key, value)).encode())
    redis.close()
    return digest.hexdigest()


def stories(count: int, length: int = 6) -> tuple[list[str], list[Record]]:
    """Customers nobody knows, and their records in any order, old after new."""
    users = [f"user-{uuid4().hex}" for _ in range(count)]
    records: list[Record] = [record for user in users for record in story(user, length)]
    records += [decision(user) for user in users]
    random.Random(7).shuffle(records)
    return users, records


def assert_shown(
    settings: Settings, store: str, users: Sequence[str], records: list[Record]
) -> None:
    """The store shows what the reference shows of the same records."""
    reference = MemoryView()
    reference.write(batch(reference, *records))
    view = open_view(settings, store)
    try:
        for user in users:
            assert view.read(user) == reference.read(user)
            if view.KEEPS_HISTORY:
                assert view.history(user, 100) == reference.history(user, 100)
    finally:
        view.close()


def rewind(settings: Settings, store: str) -> None:
    """Have a store's view filled again from the start."""
    reader = kafka.consumer(settings, group(store))
    places = [TopicPartition(PROFILES, each, 0) for each in range(settings.partitions)]
    reader.commit(offsets=places, asynchronous=False)
    reader.close()


def test_both_views_show_the_newest_and_all_history_whatever_the_order(
    stack: tuple[Settings, LocalStack],
) -> None:
    settings, _ = stack
    users, records = stories(60)
    broken = kafka.producer(settings)
    with projector(settings):
        publish(settings, records[:200])
        broken.produce(PROFILES, b"{", "nobody")
        broken.produce(DECISIONS, b"", "nobody")
        broken.flush()
        publish(settings, records[200:])
        caught_up(settings, *STORES)
    for store in STORES:
        assert_shown(settings, store, users, records)


def test_a_view_that_was_lost_is_filled_again_to_the_same(
    stack: tuple[Settings, LocalStack],
) -> None:
    settings, _ = stack
    _, records = stories(40)
    publish(settings, records)
    with projector(settings, "--store", "redis"):
        caught_up(settings, "redis")
    before = redis_digest(settings)
    rewind(settings, "redis")
    with projector(settings, "--store", "redis"):  # a replay into the view as it stands
        caught_up(settings, "redis")
    assert redis_digest(settings) == before
    redis = Redis.from_url(settings.redis)
    redis.flushall()
    redis.close()
    assert redis_digest(settings) != before
    rewind(settings, "redis")
    with projector(settings, "--store", "redis"):
        caught_up(settings, "redis")
    assert redis_digest(settings) == before


def test_a_redis_killed_in_between_is_caught_up_with_and_hbase_does_not_wait(
    stack: tuple[Settings, LocalStack],
) -> None:
    settings, local = stack
    users, records = stories(400)
    with projector(settings):
        publish(settings, records[:800])
        eventually(lambda: lag(settings, "redis") < 800)
        kill(local, "redis")
        publish(settings, records[800:])
        caught_up(settings, "hbase")
        assert lag(settings, "redis") > 0
        local.up(["redis"])
        caught_up(settings, "redis")
    for store in STORES:
        assert_shown(settings, store, users, records)


def test_an_hbase_killed_in_between_is_caught_up_with_and_redis_does_not_wait(
    stack: tuple[Settings, LocalStack],
) -> None:
    settings, local = stack
    users, records = stories(100)
    with projector(settings):
        publish(settings, records[:100])
        caught_up(settings, "hbase")
        kill(local, "hbase")
        publish(settings, records[100:])
        caught_up(settings, "redis")
        assert lag(settings, "hbase") > 0
        local.up(["hbase", "thrift"])
        caught_up(settings, "hbase")
    for store in STORES:
        assert_shown(settings, store, users, records)


def test_what_was_learned_is_shown_again_after_a_kill_a_replay_and_a_flush(
    stack: tuple[Settings, LocalStack],
) -> None:
    settings, _ = stack
    lessons: list[Record] = [
        record
        for turn in range(1, 200)
        for campaign in ("spring", "summer")
        for record in (
            posterior(campaign, turn, 10 * turn),
            posterior(campaign, turn // 2, 7 * turn, channel="push", variant="e1/a"),
            mix(campaign, turn / 400, 1_000 + turn),
        )
    ]
    reference = MemoryView()
    reference.write(batch(reference, *lessons))
    expected = reference.learned().lessons

    def shown() -> Learned:
        view = open_view(settings, "redis")
        try:
            return view.learned()
        finally:
            view.close()

    with projector(settings, "--store", "redis") as process:
        publish(settings, lessons[:600])
        process.kill()
        process.wait()
    publish(settings, lessons[600:])
    with projector(settings, "--store", "redis"):
        eventually(lambda: shown().lessons == expected)
        until_s = time.monotonic() + PATIENCE_S
        while (told := shown().shadow) is None:  # it is heard from the moment of joining on
            publish(settings, [shadow(300)])
            assert time.monotonic() < until_s
            time.sleep(0.2)
        assert told.challenger_log_loss == 0.2
    for flushed in (False, True):
        if flushed:
            redis = Redis.from_url(settings.redis)
            redis.flushall()
            redis.close()
            assert shown() == Learned()
        reader = kafka.consumer(settings, group("redis"))
        reader.commit(offsets=[TopicPartition(CONTROL, 0, 0)], asynchronous=False)
        reader.close()
        with projector(settings, "--store", "redis"):
            caught_up(settings, "redis")
        assert shown().lessons == expected
    done = subprocess.run(
        [sys.executable, "-c", "from jobs.cli import main; main()", "learned", "spring", "--json"],
        env=environment(settings), capture_output=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert [(arm["channel"], arm["version"]) for arm in told["arms"]] == [
        ("sms", 11 * 199),
        ("push", 7 * 199 + 99),
    ]


def test_a_projector_killed_in_between_loses_nothing(stack: tuple[Settings, LocalStack]) -> None:
    settings, _ = stack
    users, records = stories(200)
    with projector(settings) as process:
        publish(settings, records[:400])
        eventually(lambda: lag(settings, "redis") < 400)
        publish(settings, records[400:])
        process.kill()
        process.wait()
    with projector(settings):
        caught_up(settings, *STORES)
    for store in STORES:
        assert_shown(settings, store, users, records)


def test_the_command_shows_tags_and_history(stack: tuple[Settings, LocalStack]) -> None:
    settings, _ = stack
    [user], records = stories(1)
    publish(settings, records)
    with projector(settings):
        caught_up(settings, *STORES)
    for options, shown in (([], "view_count_total"), (["--history"], "viewed-again")):
        done = subprocess.run(
            [sys.executable, "-c", "from jobs.cli import main; main()", "profile", user, *options],
            env={**environment(settings), "COLUMNS": "160"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout
