"""Where the proofs of learning play: the stream on servers, a market against it, and what is read.

`benchmarks.learning.live` has the parts that are played here.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Final, cast

from msgspec.structs import replace

from benchmarks.learning import account
from benchmarks.live import Live
from benchmarks.servers import free_settings, running
from jobs import kafka
from jobs.archive.read import days, read_day
from jobs.archive.tables import BY_TOPIC, EXAMPLES
from jobs.archive.write import read_manifest
from jobs.demo.command import demo_control, publish
from jobs.demo.services import service
from jobs.ledger import read_ledger
from jobs.market.clock import EventClock
from jobs.market.market import Market
from jobs.run import start_stream, stop_stream
from jobs.settings import Settings
from jobs.simulator import Schedule, Simulator
from schemas import topics
from schemas.control import Campaign, ControlRecord, EventTrigger, Policy
from schemas.model import Model
from scoring.features import FEATURES
from scoring.onnx_export import model_record

KILLS: Final = 3
CHANNELS: Final = ("sms", "push", "email")
_LAG_MS: Final = 900_000
_DAY_MS: Final = 86_400_000
_PATIENCE_S: Final = 150.0


class Sizes:
    """How much of everything; less for a test."""

    def __init__(self, *, small: bool = False) -> None:
        self.seconds = 25 if small else 60
        self.rate = 300 if small else 600
        self.kills = 2 if small else KILLS
        self.clicks_s = 8 if small else 25
        self.examples = 3_000 if small else 100_000
        self.customers = 3_000 if small else 20_000


@contextmanager
def stage(folder: Path) -> Iterator[Live]:
    """The stream on servers of its own, with a projector for Redis."""
    settings = free_settings(folder, checkpoint_interval_ms=2_000, task_manager_memory_mb=2_048)
    with running(settings, "kafka", "redis", "flink") as stack:
        kafka.ensure_topics(settings)
        publish(settings, control(settings))
        start_stream(settings, fresh=True)
        tell("Kafka, Redis and Flink are up, the stream runs")
        with service(settings, "projector", "--store", "redis"):
            yield Live(settings, stack)
            stop_stream(settings)


def control(settings: Settings) -> list[ControlRecord]:
    """The shipped campaigns, and a first model."""
    return [*demo_control(settings), proof_model(0)]


class Past(Schedule, frozen=True):
    """A market whose events happened a while ago, so that their time alone moves the clocks.

    Event time that runs fast meets the wall clock at the end; shards of such events would count as
    live by then, and the wall clock would move them ahead of what is still to come.
    """

    def clock(self, now_s: float) -> EventClock:
        """As of any schedule, but `_LAG_MS` before."""
        met = super().clock(now_s)
        return EventClock(met.wall_start_s, met.event_start_ms - _LAG_MS, met.scale)


def play(stream: Live, sizes: Sizes, schedule: Schedule, seed: int) -> Simulator:
    """Run a market against the stream, answers and all."""
    market = Market(seed, sizes.customers)
    simulator = Simulator(stream.settings, market, schedule)
    simulator.run(Event(), settle_s=3.0)
    return simulator


def settle(stream: Live) -> None:
    """Wait until every input has its end and nothing more is learned."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not read_ledger(stream.settings).balanced:
        if time.monotonic() > deadline_s:
            raise SystemExit("some inputs have no end")
        time.sleep(0.5)
    seen = -1
    while (now := kafka.watermarks(stream.settings, [topics.CONTROL])[topics.CONTROL, 0][1]) > seen:
        seen = now
        time.sleep(1.5)


def everything(stream: Live) -> Iterator[account.Read]:
    """All that the account is made of."""
    for message in kafka.read_to_end(stream.settings, account.READ):
        topic, partition = kafka.place_of(message)
        key = (message.key() or b"").decode("utf-8", "replace")
        offset = cast(int, message.offset())
        yield account.Read(topic, partition, offset, message.timestamp()[1], key, message.value())


def times_sent(stream: Live) -> Counter[str]:
    """How often each decision was published; one that is decided again must not be so again."""
    return Counter(each["decision_id"] for each in stream.records(topics.DECISIONS))


def archived(settings: Settings) -> None:
    """Wait until the archive has all of the topics."""
    marks = kafka.watermarks(settings, list(BY_TOPIC))
    ends = {f"{topic}/{number}": high for (topic, number), (_, high) in marks.items() if high}
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        offsets = read_manifest(settings.archive).offsets
        if all(offsets.get(name, 0) >= end for name, end in ends.items()):
            return
        if time.monotonic() > deadline_s:
            raise SystemExit(f"the archive came only to {offsets}")
        time.sleep(0.5)


def training_rows(settings: Settings) -> tuple[set[str], int]:
    """Decisions whose example is archived, and records that are kept more than once."""
    root = settings.archive
    places: Counter[tuple[int, int]] = Counter()
    kept: set[str] = set()
    for day in days(root, EXAMPLES):
        rows = read_day(root, EXAMPLES, day, ["topic_partition", "topic_offset", "decision_id"])
        columns = [rows[name].to_pylist() for name in rows.column_names]
        for partition, offset, name in zip(*columns, strict=True):
            places[partition, offset] += 1
            kept.add(name)
    return kept, sum(count > 1 for count in places.values())


def speaks_at(name: str, action: str) -> Campaign:
    """One that speaks at an action, each time."""
    return Campaign(
        name, 1, name, EventTrigger((action,)), CHANNELS, cooldown_ms=0,
        attribution_window_ms=_DAY_MS, updated_ms=now_ms(),
    )  # fmt: skip


def no_caps(version: int) -> Policy:
    """No caps, so that every cause to speak is one."""
    return replace(Policy(), version=version, caps=(), holdout_ratio=0.0, updated_ms=now_ms())


def proof_model(number: int) -> Model:
    """The proof's model of a number, of random weights."""
    draw = random.Random(number)
    weights = [draw.uniform(-0.3, 0.3) for _ in FEATURES]
    return model_record(weights, -2.5, f"proof-{number}", updated_ms=now_ms())


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def tell(text: str) -> None:
    """Say how far it is, where it is not taken for a result."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)
