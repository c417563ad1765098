"""``beckon projector``: keeps the views in Redis and HBase up to date with the stream.

A process of its own beside the stream. Each view has its own thread with its own consumer group,
so a store that is away delays its own view and nothing else; one process for each view
(``--store``) is the same with more processors.

A batch is read, written and only then marked as done. One that cannot be written is forgotten and
read again after a pause, for as long as it takes: views take a record twice, and late, without
harm. A record that cannot be understood is logged with its coordinates and passed over; the
stream wrote it, so there is no producer to send it back to, and the customer's next one mends it.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from math import nan
from threading import Event
from typing import Annotated, Any, Final

import structlog
import typer
from confluent_kafka import OFFSET_END, TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as Place

from jobs import kafka
from jobs.metrics import Sample, exposed
from jobs.service import begin_service
from jobs.settings import Settings
from jobs.view_batch import Poison, coordinates, read_batch, topics
from jobs.views import open_view
from schemas.audit import Shadow
from schemas.errors import StoreUnavailable
from schemas.topics import AUDIT
from state.stores import STORES
from state.stores.base import Batch, View

BATCH: Final = 1_000
BATCH_S: Final = 0.05
PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
STATUS_EVERY_S: Final = 30.0
CONSUMER: Final = {
    "enable.auto.commit": True,  # of what is marked, which is what is written
    "auto.commit.interval.ms": 1_000,
    "enable.auto.offset.store": False,
    "session.timeout.ms": 10_000,  # how long a projector that was killed keeps its partitions
}


def group(store: str) -> str:
    """The consumer group of a store's view."""
    return f"beckon-projector-{store}"


class Projection:
    """Fills one view from its consumer."""

    def __init__(self, name: str, view: View, consumer: Consumer) -> None:
        self.counters: Counter[str] = Counter()
        self._view = view
        self._consumer = consumer
        self._log: Any = structlog.get_logger().bind(store=name)
        self._failures = 0
        self._lag_ms = 0
        self._behind_ms = 0
        self._shadow: Shadow | None = None
        self._name = name
        self._told_s = time.monotonic()

    def samples(self) -> Iterator[Sample]:
        """What there is to show of it (`jobs.metrics`)."""
        of = (self._name,)
        for name in ("records", "poison", "put_off", "erased", "kafka_errors"):
            yield Sample(f"beckon_projector_{name}_total", self.counters[name], of)
        yield Sample("beckon_projector_behind_ms", self._behind_ms, of)
        if self._view.SHOWS_LEARNED:
            told = self._shadow
            losses = (nan, nan) if told is None else (
                told.champion_log_loss, told.challenger_log_loss
            )  # fmt: skip
            seen = 0 if told is None else told.examples
            yield Sample("beckon_projector_shadow_examples", seen, of)
            yield Sample("beckon_projector_champion_log_loss_nats", losses[0], of)
            yield Sample("beckon_projector_challenger_log_loss_nats", losses[1], of)

    def run(self, stop: Event) -> None:
        """Project until told to stop; the batch in hand is finished."""
        self._consumer.subscribe(topics(self._view), on_assign=_begin)
        self._log.info("projecting", topics=topics(self._view))
        try:
            while not stop.is_set():
                pause_s = self.advance()
                if time.monotonic() - self._told_s >= STATUS_EVERY_S:
                    self._tell_status()
                stop.wait(pause_s)
        finally:
            self._consumer.close()  # commits what is marked
            self._view.close()
            self._tell_status()

    def advance(self) -> float:
        """Take one batch to the view; returns the seconds to pause before the next."""
        messages = self._consume()
        if not messages:
            return 0.0
        batch, poison = read_batch(messages, self._view)
        try:
            self._view.write(batch)
        except StoreUnavailable as error:
            return self._put_off(messages, error)
        self._mark(messages)
        self._count(messages, batch, poison)
        return 0.0

    def _consume(self) -> list[Message]:
        messages = []
        for message in self._consumer.consume(BATCH, timeout=BATCH_S):
            error = message.error()
            if error is None:
                messages.append(message)
            elif error.fatal():
                raise KafkaException(error)
            else:
                self.counters["kafka_errors"] += 1
                self._log.warning("kafka", error=error.name())
        return messages

    def _put_off(self, messages: Sequence[Message], error: StoreUnavailable) -> float:
        """Have the batch read again: by then it may be larger, or another process's."""
        self._failures += 1
        self.counters["put_off"] += 1
        pause_s = min(LONGEST_PAUSE_S, PAUSE_S * 2.0 ** (self._failures - 1))
        if self._failures == 1 or pause_s == LONGEST_PAUSE_S:
            self._log.warning("store away", error=str(error), failures=self._failures)
        for (topic, partition), (first, _) in _spans(messages).items():
            with suppress(KafkaException):  # no longer ours
                self._consumer.seek(Place(topic, partition, first))
        return pause_s * random.uniform(0.75, 1.0)

    def _mark(self, messages: Sequence[Message]) -> None:
        if self._failures:
            self._log.info("store back", failures=self._failures)
            self._failures = 0
        for (topic, partition), (_, last) in _spans(messages).items():
            with suppress(KafkaException):  # no longer ours: its next owner reads it again
                self._consumer.store_offsets(offsets=[Place(topic, partition, last + 1)])

    def _count(self, messages: Sequence[Message], batch: Batch, poison: list[Poison]) -> None:
        counters = self.counters
        counters["records"] += len(messages)
        counters["customers"] += len(batch.updates)
        counters["facts"] += sum(map(len, batch.facts.values()))
        counters["decisions"] += len(batch.decisions)
        counters["erased"] += len(batch.erased)
        counters["lessons"] += len(batch.lessons)
        self._shadow = batch.shadow or self._shadow
        counters["poison"] += len(poison)
        for record in poison:
            self._log.error("poison", **record._asdict())
        kind, published_ms = messages[0].timestamp()
        if kind != TIMESTAMP_NOT_AVAILABLE:
            self._behind_ms = round(time.time() * 1_000) - published_ms
            self._lag_ms = max(self._lag_ms, self._behind_ms)

    def _tell_status(self) -> None:
        self._told_s = time.monotonic()
        self._log.info("status", worst_lag_ms=self._lag_ms, **self.counters)
        self._lag_ms = 0


def _begin(consumer: Consumer, places: list[Place]) -> None:
    """Go on where the group is; of the audit only what comes, for each record says all anew."""
    for place in places:
        if place.topic == AUDIT:
            place.offset = OFFSET_END
    consumer.assign(places)


def _spans(messages: Iterable[Message]) -> dict[tuple[str, int], tuple[int, int]]:
    """First and last offset of each partition."""
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    for message in messages:
        topic, partition, offset = coordinates(message)
        first, _ = spans.get((topic, partition), (offset, offset))
        spans[topic, partition] = first, offset
    return spans


def project(settings: Settings, stores: Sequence[str], stop: Event) -> None:
    """Fill the views until told to stop; what stops one on its own stops all, and is raised."""
    kafka.ensure_topics(settings)
    projections = [
        Projection(
            name,
            open_view(settings, name),
            kafka.consumer(
                settings,
                group(name),
                **CONSUMER,
            ),
        )
        for name in stores
    ]

    def samples() -> Iterator[Sample]:
        for projection in projections:
            yield from projection.samples()

    with (
        exposed(settings, "projector", samples),
        ThreadPoolExecutor(len(projections)) as pool,
    ):
        running = [pool.submit(projection.run, stop) for projection in projections]
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        stop.set()
        for future in ended:
            future.result()


def projector(
    store: Annotated[
        list[str] | None, typer.Option(help="Fill only this view; may be given more than once.")
    ] = None,
) -> None:
    """Keep the views in Redis and HBase up to date until SIGTERM or Ctrl-C."""
    stop = begin_service()
    project(Settings(), store or list(STORES), stop)
