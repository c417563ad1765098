"""``beckon replay``: events from CSV, JSONL or Parquet files, published as if they happened.

Rows keep their order and go out keyed by customer, as fast as possible or at a multiple of the
pace at which they happened. A row without an id of its own takes one from its file's name and its
number, so that a second replay is all duplicates. A row that makes no event is counted by reason.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any, Final, cast

import msgspec
import typer

from jobs.kafka import ensure_topics, producer
from jobs.mapping import Format, Mapping, Unmappable, read_mapping
from jobs.settings import Settings
from schemas.errors import UserMistake
from schemas.event import BehaviorEvent
from schemas.topics import EVENTS

EXAMPLES_KEPT: Final = 5
_STRIDE: Final = 1_000
_SUFFIXES: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}

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


def read_rows(path: Path, mapping: Mapping) -> Iterator[Sequence[Any] | Unmappable]:
    """The rows of a file as values in the order of ``mapping.sources``; broken ones as errors."""
    form = mapping.file.format or _format(path)
    try:
        with path.open("rb") as raw:
            if form == "parquet":
                yield from _parquet(raw, path, mapping)
            else:
                packed = path.suffix == ".gz"
                data = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
                yield from (_csv if form == "csv" else _jsonl)(data, path, mapping)
    except (OSError, EOFError) as error:
        raise UserMistake(f"{path} cannot be read to its end: {error}") from None


def _csv(data: IO[bytes], path: Path, mapping: Mapping) -> Iterator[Sequence[Any] | Unmappable]:
    file = mapping.file
    text = TextIOWrapper(data, "utf-8-sig", "surrogateescape", newline="")
    try:
        table = csv.reader(text, delimiter=file.delimiter)
        columns = next(table, []) if file.header else list(file.columns)
        places = _places(columns, path, mapping)
        while True:
            try:
                for row in table:
                    if len(row) == len(columns):
                        yield [row[place] for place in places]
                    elif row:
                        yield Unmappable("a row has not as many columns as the header", str(row))
                return
            except csv.Error as error:
                yield Unmappable("a row is no CSV", str(error))
    finally:
        text.detach()


def _jsonl(data: IO[bytes], _: Path, mapping: Mapping) -> Iterator[Sequence[Any] | Unmappable]:
    paths = [tuple(source.split(".")) for source in mapping.sources]
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for line in data:
        if not line.strip():
            continue
        try:
            record = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield Unmappable("a row is no JSON object", str(error))
            continue
        yield [
            record[source] if source in record else _dig(record, steps)
            for source, steps in zip(mapping.sources, paths, strict=True)
        ]


def _parquet(data: IO[bytes], path: Path, mapping: Mapping) -> Iterator[Sequence[Any] | Unmappable]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(data)
        _places(file.schema_arrow.names, path, mapping)
        for batch in file.iter_batches(batch_size=8_192, columns=mapping.sources):
            columns = [batch.column(source).to_pylist() for source in mapping.sources]
            yield from zip(*columns, strict=True)
    except pyarrow.ArrowException as error:
        raise UserMistake(f"{path} is no Parquet file that can be read: {error}") from None


def _places(columns: Sequence[str], path: Path, mapping: Mapping) -> list[int]:
    missing = [source for source in mapping.sources if source not in columns]
    if missing:
        raise UserMistake(
            f"{path} has no column {missing[0]!r}, which the mapping names; "
            f"it has: {', '.join(columns) or 'none'}"
        )
    return [list(columns).index(source) for source in mapping.sources]


def _dig(record: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        if not isinstance(record, dict):
            return None
        record = record.get(step)
    return record


def _format(path: Path) -> Format:
    name = path.name.removesuffix(".gz")
    form = _SUFFIXES.get(Path(name).suffix)
    if form is None:
        known = ", ".join(_SUFFIXES)
        raise UserMistake(f"{path}: neither of {known}; say `format:` in the mapping")
    return form


def id_prefix(path: Path) -> str:
    """The same for a file wherever it lies, packed or not."""
    return hashlib.sha256(path.name.removesuffix(".gz").encode()).hexdigest()[:16]


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


def replay(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE…", help=".csv .jsonl .parquet .gz")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="Which column is what: infra/mappings/*.yaml.")
    ] = None,
    speed: Annotated[str, typer.Option(help="A multiple of real time (60x), or max.")] = "max",
    limit: Annotated[int | None, typer.Option(min=1, help="Rows to read at most.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Map and count only.")] = False,
    topic: Annotated[
        list[str] | None,
        typer.Option(help="Instead of files, decide again what was recorded there; no effects."),
    ] = None,
    since: Annotated[
        str, typer.Option("--from", help="With --topic: from when; 2h, or an RFC 3339 time.")
    ] = "",
    until: Annotated[
        str, typer.Option("--to", help="With --topic: until when; now when left out.")
    ] = "",
    campaigns: Annotated[
        list[Path] | None, typer.Option(help="With --topic: what these files would have done.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="With --topic: what this model record would have done.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --topic: one JSON object.")] = False,
) -> None:
    """Publish events from files; or decide again what was recorded, as an audit.

    With --topic nothing is published and nothing is sent. The recorded inputs go through the
    stream's own core, each under the campaigns, policy, model and posteriors that were in force,
    and what was decided between --from and --to must come out again, byte for byte: the digests
    are told, and the exit code is 1 when they differ. It reads from the first record that Kafka
    keeps, since a customer's state is all that came before. With --campaigns or --model it says
    instead what another set would have done; `beckon evaluate --policy` what it would have earned.
    """
    if topic:
        if files:
            raise UserMistake("give files or --topic, not both")
        from jobs.audit.command import audit

        audit(topic, since, until, campaigns or (), model, as_json)
        return
    if not files or mapping is None:
        raise UserMistake("give files and their --mapping, or --topic for what was recorded")
    pace = Pace(parse_speed(speed))
    ready = read_mapping(mapping)
    for path in files:
        if not path.is_file():
            raise UserMistake(f"there is no file {path}")
    kafka = None if dry_run else KafkaEvents(Settings())
    report = Report()
    ticker = Ticker(kafka)
    interrupted = False
    try:
        replay_files(files, ready, kafka or _discard, report, pace, limit, ticker)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if kafka is not None:
            kafka.flush()
        ticker.close()
        for line in report.lines(ticker.seconds):
            typer.echo(line)
    if interrupted or report.lost_all:
        raise typer.Exit(130 if interrupted else 1)


def _discard(event: BehaviorEvent, value: bytes) -> None:
    """Where the events of a dry run go."""
