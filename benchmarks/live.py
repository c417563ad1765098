"""The whole product on real servers: stack, campaigns, stream and projector, as one object."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition
from rich.console import Console

from benchmarks.servers import kill
from jobs import kafka
from jobs.cluster import Cluster
from jobs.demo.command import publish, servers
from jobs.demo.services import service
from jobs.mapping import read_mapping
from jobs.projector import group
from jobs.replay.publish import Report, replay_files
from jobs.run import start_stream
from jobs.settings import Settings
from jobs.stack.local import LocalStack
from operators import names
from operators.shard import shard_of
from schemas import topics
from schemas.control import ControlRecord
from schemas.wire import encode

PATIENCE_S = 240
TAOBAO = Path(__file__).parents[2] / "shared" / "data" / "taobao_110300.csv.gz"

Place = tuple[str, int, int]
"""Topic, partition, offset."""


@dataclass(frozen=True)
class Live:
    """A stream that runs."""

    settings: Settings
    stack: LocalStack

    def send(self, *payloads: Any, topic: str = topics.EVENTS) -> list[Place | None]:
        """Put payloads on a topic, where the harness would; returns the place of each."""
        placed: list[Place | None] = [None] * len(payloads)

        def note(number: int) -> Callable[[Any, Any], None]:
            def delivered(error: Any, message: Any) -> None:
                assert error is None, error
                placed[number] = (topic, message.partition(), message.offset())

            return delivered

        out = kafka.producer(self.settings)
        for number, payload in enumerate(payloads):
            raw = encode(payload) if isinstance(payload, dict) else payload
            user = payload["user_id"] if isinstance(payload, dict) else None
            partition = 0 if user is None else int(shard_of(user, 16), 16) % 4
            out.produce(topic, raw, user, partition, on_delivery=note(number))
            out.poll(0)
        assert out.flush(60) == 0
        return placed

    def values(self, topic: str) -> list[bytes]:
        """The values that a topic holds now."""
        found = kafka.read_to_end(self.settings, [topic])
        return [value for message in found if (value := message.value()) is not None]

    def records(self, topic: str) -> list[dict[str, Any]]:
        """The records that a topic of JSON holds now."""
        return [json.loads(value) for value in self.values(topic)]

    def contents(self) -> dict[str, set[bytes]]:
        """Decision id → every content with which it was published; there must be one."""
        found: dict[str, set[bytes]] = defaultdict(set)
        for value in self.values(topics.DECISIONS):
            found[json.loads(value)["decision_id"]].add(value)
        return found

    def decisions_of(self, user: str) -> list[dict[str, Any]]:
        """What was decided for a customer, each decision once."""
        found = {d["decision_id"]: d for d in self.records(topics.DECISIONS)}
        return [decision for decision in found.values() if decision["user_id"] == user]

    def ends(self, places: Iterable[Place | None]) -> list[set[tuple[str, str]]]:
        """The (end, reason) of these inputs, once each has one."""
        wanted = list(places)

        def all_ended() -> bool:
            ends.clear()
            for audit in self.records(topics.AUDIT):
                for row in audit["rows"] if audit["kind"] == "outcomes" else ():
                    ends[audit["topics"][row[0]], row[1], row[2]].add((row[3], row[4]))
            return all(place in ends for place in wanted)

        ends: dict[Place | None, set[tuple[str, str]]] = defaultdict(set)
        eventually(all_ended, "some inputs have no end")
        return [ends[place] for place in wanted]

    def kill_task_manager(self) -> None:
        """``kill -9``, and start another."""
        kill(self.stack, "taskmanager-1")
        self.stack.up(["flink"])

    def restarts(self) -> int:
        """How often the running job was restarted."""
        url = self.settings.flink
        job = Cluster(url).running(names.JOB)
        with urllib.request.urlopen(f"{url}/jobs/{job}/metrics?get=numRestarts") as answer:
            [metric] = json.load(answer)
        return int(metric["value"])

    def projected(self) -> None:
        """Wait until the views hold all that the stream has published."""
        eventually(
            lambda: lag(self.settings, "redis") + lag(self.settings, "hbase") == 0,
            "the views lag behind",
        )


def lag(settings: Settings, store: str) -> int:
    """Records that a store's view has not been given yet."""
    shown = [topics.PROFILES, topics.DECISIONS] if store == "hbase" else [topics.PROFILES]
    places = [TopicPartition(topic, n) for topic in shown for n in range(settings.partitions)]
    if store == "redis":
        places.append(TopicPartition(topics.CONTROL, 0))
    reader = kafka.consumer(settings, group(store))
    try:
        left = 0
        for place in reader.committed(places, timeout=10):
            low, high = reader.get_watermark_offsets(place, timeout=10)
            left += high - max(low, place.offset)
        return left
    finally:
        reader.close()


@contextmanager
def live(settings: Settings, control: Iterable[ControlRecord]) -> Iterator[Live]:
    """Start everything with empty data; all is stopped and wiped at the end."""
    with servers(settings, Console(stderr=True)):
        publish(settings, list(control))
        start_stream(settings, fresh=True)
        with service(settings, "projector"):
            yield Live(settings, LocalStack(settings))


def shop_events(settings: Settings, path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """The events that ``beckon replay`` makes of a file of the Taobao format, in its order."""
    events: list[dict[str, Any]] = []
    replay_files(
        [path],
        read_mapping(settings.infra / "mappings" / "taobao.yaml"),
        lambda _, value: events.append(json.loads(value)),
        Report(),
        limit=limit,
    )
    return events


def eventually(holds: Callable[[], bool], trouble: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until it holds."""
    deadline_s = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline_s, trouble
        time.sleep(0.5)
