"""The local stack with its real servers: up, again, a kill, down; no process is left."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import happybase
import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.servers import free_settings, kill
from jobs.settings import Settings
from jobs.stack.flink import registered_task_managers
from jobs.stack.local import LocalStack

pytestmark = [pytest.mark.stack, pytest.mark.flink]

PROCESSES = ["hbase", "jobmanager", "kafka", "redis", "taskmanager-1", "thrift"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return free_settings(tmp_path_factory.mktemp("stack"), task_manager_memory_mb=1536)


@pytest.fixture(scope="module")
def stack(settings: Settings) -> Iterator[LocalStack]:
    stack = LocalStack(settings)
    try:
        stack.up()
        yield stack
    finally:
        stack.wipe()


def listening_addresses(pid: int) -> set[str]:
    """Hexadecimal addresses on which a process listens, as the kernel tells them."""
    own = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own}


def mentions(folder: Path) -> list[int]:
    """Processes whose command line or environment speaks of a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in told:
            found.append(int(process.name))
    return found


def exchange_on_kafka(settings: Settings) -> None:
    topic, value = f"t-{uuid.uuid4()}", b"hello"
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    admin.create_topics([NewTopic(topic, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": settings.bootstrap})
    producer.produce(topic, value)
    assert producer.flush(30) == 0
    reader = Consumer(
        {
            "bootstrap.servers": settings.bootstrap,
            "group.id": topic,
            "auto.offset.reset": "earliest",
        }
    )
    reader.subscribe([topic])
    [message] = reader.consume(1, timeout=30)
    reader.close()
    assert message.value() == value


def exchange_on_redis(settings: Settings) -> None:
    with redis.Redis.from_url(settings.redis) as client:
        client.set("k", "v")
        assert client.get("k") == b"v"


def exchange_on_hbase(settings: Settings) -> None:
    name = f"t{uuid.uuid4().hex}"
    connection = happybase.Connection(
        settings.hbase_host, settings.hbase_thrift_port, timeout=30_000
    )
    connection.create_table(name, {"f": {"bloom_filter_type": "ROW", "max_versions": 1}})
    connection.table(name).put(b"row", {b"f:a": b"1"})
    assert connection.table(name).row(b"row") == {b"f:a": b"1"}
    connection.close()


def topics(settings: Settings) -> set[str]:
    return set(
        AdminClient({"bootstrap.servers": settings.bootstrap}).list_topics(timeout=30).topics
    )


def count_workers(settings: Settings) -> None:
    assert registered_task_managers(settings.flink_rest_port, settings.host) == 1


@pytest.mark.parametrize(
    "serve", [exchange_on_kafka, exchange_on_redis, exchange_on_hbase, count_workers]
)
def test_every_server_serves(
    stack: LocalStack, settings: Settings, serve: Callable[[Settings], None]
) -> None:
    serve(settings)


def test_a_second_up_changes_nothing(stack: LocalStack) -> None:
    before = stack.status()
    assert [state.name for state in before] == PROCESSES
    assert all(state.alive for state in before)
    assert stack.up() == before


def test_everything_listens_on_loopback_only(stack: LocalStack) -> None:
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    for state in stack.status():
        addresses = listening_addresses(state.pid)
        assert addresses, f"{state.name} listens nowhere"
        assert addresses <= loopback, state.name


def test_each_process_has_a_log(stack: LocalStack) -> None:
    for state in stack.status():
        assert Path(state.log).stat().st_size > 0, state.name


def test_a_killed_kafka_is_shown_dead_and_revived_with_its_data(
    stack: LocalStack, settings: Settings
) -> None:
    exchange_on_kafka(settings)
    before = topics(settings)
    others = {state.name: state.pid for state in stack.status() if state.name != "kafka"}
    kill(stack, "kafka")
    while any(state.alive for state in stack.status() if state.name == "kafka"):
        time.sleep(0.05)
    after = {state.name: state for state in stack.up()}
    assert after["kafka"].alive
    assert {name: state.pid for name, state in after.items() if name != "kafka"} == others
    assert before <= topics(settings)


def test_down_leaves_no_process_and_up_finds_the_data(
    stack: LocalStack, settings: Settings
) -> None:
    with redis.Redis.from_url(settings.redis) as client:
        client.set("kept", "yes")
    pids = [state.pid for state in stack.status()]
    stack.down()
    assert stack.status() == []
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert mentions(settings.data_dir) == []
    stack.up(["redis"])
    with redis.Redis.from_url(settings.redis) as client:
        assert client.get("kept") == b"yes"
