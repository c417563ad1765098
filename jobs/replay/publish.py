"""Events of files put on Kafka, in their order, at a pace, and counted."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, cast

from jobs.kafka import ensure_topics, producer
from jobs.mapping import Mapping, Unmappable
from jobs.replay.files import id_prefix, read_rows
from jobs.settings import Settings
from schemas.errors import UserMistake
from schemas.event import BehaviorEvent
from schemas.topics import EVENTS

EXAMPLES_KEPT: Final = 5
_STRIDE: Final = 1_000

Publish = Callable[[BehaviorEvent, bytes], None]
"""Takes an event and its bytes."""


@dataclass
class Report:
    """What became of the rows; ``verb`` says what was done with the good ones."""

    verb: str = "published"
    rows: int = 0
    published: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def lost_all(self) -> bool:
        """Whether there were rows and none of them made an event."""
        return self.rows > 0 and self.published == 0

    def refuse(self, path: Path, row: int, error: Unmappable) -> None:
        """Count a row that made no event; the first of each reason are kept by number."""
        seen = self.refused.get(error.reason, 0)
        self.refused[error.reason] = seen + 1
        if seen < EXAMPLES_KEPT:
            note = f"{path.name} row {row}{f' ({error.detail[:80]})' if error.detail else ''}"
            self.examples.setdefault(error.reason, []).append(note)

    def lines(self, seconds: float) -> list[str]:
        """The report for people."""
        refused = sum(self.refused.values())
        rate = self.rows / seconds if seconds > 0 else 0.0
        found = [
            f"{self.rows:,} rows, {self.published:,} {self.verb}, {refused:,} refused "
            f"in {seconds:.1f} s ({rate:,.0f} rows/s)"
        ]
        for reason, count in sorted(self.refused.items(), key=lambda item: -item[1]):
            found.append(
                f"  refused {count:,}: {reason}; first: {', '.join(self.examples[reason])}"
            )
        return found


class Pace:
    """Holds rows back so that time passes at a multiple of what it did; 0 is without waiting."""

    def __init__(
        self,
        speed: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``clock`` and ``sleep`` are in seconds."""
        self._speed = speed
        self._clock = clock
        self._sleep = sleep
        self._origin: tuple[int, float] | None = None

    def wait_for(self, ts_ms: int) -> None:
        """Return when it is time for an event of ``ts_ms``; at once when that time has passed."""
        if not self._speed:
            return
        if self._origin is None:
            self._origin = (ts_ms, self._clock())
        first_ms, began = self._origin
        ahead = (ts_ms - first_ms) / 1_000 / self._speed - (self._clock() - began)
        if ahead > 0:
            self._sleep(ahead)


def parse_speed(text: str) -> float:
    """``60x`` → 60.0, ``max`` → 0.0.

    Raises:
        UserMistake: it is neither.
    """
    if text == "max":
        return 0.0
    with suppress(ValueError):
        speed = float(text.removesuffix("x"))
        if 0 < speed < float("inf"):
            return speed
    raise UserMistake(f"--speed {text!r}: write a multiple such as 60x, or max")


def replay_files(
    paths: Iterable[Path],
    mapping: Mapping,
    publish: Publish,
    report: Report,
    pace: Pace | None = None,
    limit: int | None = None,
    progress: Callable[[Report], None] = lambda _: None,
) -> None:
    """Publish the rows of files, in their order, counting in ``report`` as it goes.

    Raises:
        UserMistake: a file cannot be read, breaks off, or has not the mapping's columns.
    """
    pace = pace or Pace(0)
    for path in paths:
        remaining = None if limit is None else limit - report.rows
        prefix = id_prefix(path)
        for number, row in enumerate(islice(read_rows(path, mapping), remaining), 1):
            report.rows += 1
            try:
                if isinstance(row, Unmappable):
                    raise row
                event, value = mapping.event(row, f"{prefix}-{number}")
            except Unmappable as error:
                report.refuse(path, number, error)
            else:
                pace.wait_for(cast(int, event.ts))
                publish(event, value)
                report.published += 1
            if not report.rows % _STRIDE:
                progress(report)


class KafkaEvents:
    """Publishes events; what the broker refused for good is counted."""

    def __init__(self, settings: Settings) -> None:
        self.failures = 0
        self.trouble = ""
        ensure_topics(settings)
        self._producer = producer(
            settings,
            **{
                "linger.ms": 20,
                "compression.type": "lz4",
                "delivery.report.only.error": True,
                "on_delivery": self._on_failure,
            },
        )

    def __call__(self, event: BehaviorEvent, value: bytes) -> None:
        """Hand an event to the producer; waits while its queue is full."""
        while True:
            try:
                self._producer.produce(EVENTS, value, event.user_id)
                return
            except BufferError:
                self._producer.poll(0.1)

    def poll(self) -> None:
        """Serve delivery reports."""
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until the broker has everything.

        Raises:
            UserMistake: it did not take all of it.
        """
        self._producer.flush()
        if self.failures:
            raise UserMistake(
                f"Kafka did not take {self.failures:,} events: {self.trouble}. Replay again: "
                "ids stay the same, so what arrived already counts as duplicates."
            )

    def _on_failure(self, error: object, _: object) -> None:
        self.failures += 1
        self.trouble = str(error)


class Ticker:
    """A line on the standard error each second: overwritten on a terminal, appended elsewhere."""

    def __init__(self, kafka: KafkaEvents | None = None) -> None:
        """With a broker, its delivery reports are served as well."""
        self._kafka = kafka
        self._began = self._told = time.monotonic()
        self._terminal = sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._began

    def __call__(self, report: Report) -> None:
        """Tell how far it is, once a second at most."""
        if self._kafka is not None:
            self._kafka.poll()
        now = time.monotonic()
        if now - self._told >= 1:
            self._told = now
            rate = report.rows / (now - self._began)
            refused = sum(report.refused.values())
            line = f"{report.rows:,} rows, {rate:,.0f} rows/s, {refused:,} refused"
            print(f"\r{line:<70}" if self._terminal else line, end="" if self._terminal else "\n",
                  file=sys.stderr, flush=True)  # fmt: skip

    def close(self) -> None:
        """End the line."""
        if self._terminal and self._told != self._began:
            print(file=sys.stderr)
