"""Fills the archive from the topics.

Where to read on comes from the archive's manifest, which is replaced together with the rows; the
consumer group's offsets are committed for those who watch its lag, and never read. So a kill at any
point loses nothing and repeats nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from threading import Event
from typing import Any, Final, cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from jobs import kafka
from jobs.archive.parity import CHECKED, MISMATCHED, UNKNOWN, Parity
from jobs.archive.read import days, read_day
from jobs.archive.tables import BY_TOPIC, CONTROL, EXAMPLES, TABLES, Row
from jobs.archive.upkeep import merge
from jobs.archive.write import Archive
from jobs.metrics import Sample, exposed
from jobs.settings import Settings
from schemas.errors import InvalidRecord, UserMistake

GROUP: Final = "beckon-archive"
BATCH: Final = 1_000
BATCH_S: Final = 0.2
STATUS_EVERY_S: Final = 30.0
LOOK_EVERY_S: Final = 1.0
REFUSED: Final = "refused"
MISSED: Final = "missed"


class Archiver:
    """Gathers rows, and keeps them every ``every_s`` seconds or ``most`` rows."""

    def __init__(
        self,
        settings: Settings,
        archive: Archive,
        *,
        every_s: float = 60.0,
        most: int = 20_000,
        parity_share: int = 1,
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._every_s = every_s
        self._most = most
        self._parity = Parity(parity_share)
        self._log: Any = structlog.get_logger()
        self._rows: dict[str, list[Row]] = {name: [] for name in TABLES}
        self._offsets: dict[str, int] = {}
        self._counted: Counter[str] = Counter()
        self._held = 0
        self._behind = 0

    def samples(self) -> Iterator[Sample]:
        """What there is to show of it (`jobs.metrics`)."""
        counted = self._archive.manifest.counted
        for name in TABLES:
            yield Sample("beckon_archive_rows_total", counted.get(f"rows_{name}", 0), (name,))
        for name, of in (
            ("refused", REFUSED),
            ("missed", MISSED),
            ("parity_checked", CHECKED),
            ("parity_mismatched", MISMATCHED),
            ("parity_unknown", UNKNOWN),
        ):
            yield Sample(f"beckon_archive_{name}_total", counted.get(of, 0))
        yield Sample("beckon_archive_held_rows", self._held)
        yield Sample("beckon_archive_behind_records", self._behind)

    def run(self, stop: Event) -> None:
        """Archive until told to stop; what is in hand is kept."""
        with exposed(self._settings, "archive", self.samples):
            self._run(stop)

    def _run(self, stop: Event) -> None:
        kafka.ensure_topics(self._settings)
        starts = self._starts()
        self._remember_models()
        consumer = kafka.consumer(self._settings, GROUP)
        try:
            consumer.assign([TopicPartition(*place, start) for place, start in starts.items()])
            self._log.info("archiving", root=str(self._archive.root), partitions=len(starts))
            kept_s = told_s = looked_s = time.monotonic()
            while not stop.is_set():
                self._take(consumer)
                now_s = time.monotonic()
                if self._held >= self._most or (self._offsets and now_s - kept_s >= self._every_s):
                    self._keep(consumer)
                    kept_s = now_s
                if now_s - looked_s >= LOOK_EVERY_S:
                    self._behind, looked_s = kafka.behind(consumer), now_s
                if now_s - told_s >= STATUS_EVERY_S:
                    self._tell()
                    told_s = now_s
            self._keep(consumer)
        finally:
            consumer.close()
            self._tell()

    def _starts(self) -> dict[kafka.Place, int]:
        """Where to read on; what Kafka no longer has is counted and told."""
        starts = {}
        for place, (low, high) in kafka.watermarks(self._settings, list(BY_TOPIC)).items():
            name = f"{place[0]}/{place[1]}"
            start = self._archive.manifest.offsets.get(name, low)
            if start > high:
                raise UserMistake(
                    f"the archive at {self._archive.root} goes on at {name}, offset {start:,}, and "
                    f"the topic ends at {high:,}: it was made anew. Move the archive elsewhere, or "
                    "set BECKON_ARCHIVE_DIR"
                )
            if start < low:
                self._counted[MISSED] += low - start
                self._log.error("gap", place=name, first=start, next=low)
                start = low
            starts[place] = start
        return starts

    def _remember_models(self) -> None:
        root = self._archive.root
        for day in days(root, CONTROL):
            found = read_day(root, CONTROL, day, ["kind", "value"])
            for kind, value in zip(*(found[name].to_pylist() for name in ("kind", "value")),
                                   strict=True):  # fmt: skip
                if kind == "model":
                    self._parity.learn(value)

    def _take(self, consumer: Consumer) -> None:
        for message in consumer.consume(BATCH, timeout=BATCH_S):
            error = message.error()
            if error is None:
                self._add(message)
            elif error.fatal() or error.code() == KafkaError.OFFSET_OUT_OF_RANGE:
                raise KafkaException(error)
            else:
                self._log.warning("kafka", error=error.name())

    def _add(self, message: Message) -> None:
        topic, partition = kafka.place_of(message)
        offset = cast(int, message.offset())
        table = BY_TOPIC[topic]
        value = message.value()
        key = (message.key() or b"").decode("utf-8", "replace")
        try:
            row = table.row(value, key)
        except InvalidRecord:  # the stream made a dead letter of it
            self._counted[REFUSED] += 1
        else:
            row["topic_partition"], row["topic_offset"] = partition, offset
            row["ingested_ms"] = message.timestamp()[1]
            self._rows[table.name].append(row)
        if table is CONTROL and key.startswith("model/"):
            self._parity.learn(value)
        self._held += 1
        self._offsets[f"{topic}/{partition}"] = offset + 1

    def _keep(self, consumer: Consumer) -> None:
        if not self._offsets:
            return
        examples = self._rows[EXAMPLES.name]
        if self._parity.unknown(examples):  # the control topic is not read as far as they are
            for message in kafka.read_to_end(self._settings, [CONTROL.topic]):
                if (message.key() or b"").startswith(b"model/"):
                    self._parity.learn(message.value())
        self._counted.update(self._parity.check(examples))
        self._counted.update({f"rows_{name}": len(rows) for name, rows in self._rows.items()})
        self._archive.append(self._rows, self._offsets, self._counted)
        consumer.commit(
            offsets=[
                TopicPartition(topic, int(partition), offset)
                for (topic, _, partition), offset in (
                    (name.rpartition("/"), offset) for name, offset in self._offsets.items()
                )
            ],
            asynchronous=True,
        )
        self._rows = {name: [] for name in TABLES}
        self._offsets, self._counted, self._held = {}, Counter(), 0
        for table in TABLES.values():
            for day in days(self._archive.root, table):
                merge(self._archive.root, table, day)

    def _tell(self) -> None:
        self._log.info(
            "status", batch=self._archive.manifest.batch, held=self._held,
            **self._archive.manifest.counted,
        )  # fmt: skip
