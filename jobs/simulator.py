"""``beckon simulate``: a market of customers whose tastes are known, on the real topics.

    market ─▶ events ─▶ Kafka ─▶ (the engine) ─▶ decisions ─▶ sender ─▶ outcomes ─▶ Kafka

The schedule is fixed before the first event. A simulator that falls behind sends late and counts
latency from the intended moment all the same.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Annotated, Final

import msgspec
import typer
from confluent_kafka import Consumer, KafkaException, Producer
from rich.console import Console
from rich.live import Live

from jobs.kafka import consumer, ensure_topics, producer, read_from_now
from jobs.market.clock import EventClock
from jobs.market.faults import Faults
from jobs.market.latency import Histogram, LatencyTracker
from jobs.market.market import Emission, Market
from jobs.market.sender import Sender
from jobs.settings import Settings
from schemas.decision import Decision
from schemas.errors import UserMistake
from schemas.topics import DECISIONS, EVENTS

_PATIENCE_S: Final = 10.0
_ENDLESS_S: Final = 10 * 365 * 86_400.0
_BACKLOG_PER_S: Final = 3_000.0  # density in event time of what is sent as fast as possible
_POLL_S: Final = 0.02

_read_decision: Final = msgspec.json.Decoder(Decision).decode


class Schedule(msgspec.Struct, frozen=True):
    """What to send when. ``rate`` is events per second of wall time, None as fast as possible.

    Event time runs ``scale`` times as fast as wall time and meets it at the end.
    """

    events: int
    rate: float | None
    scale: float = 1.0
    fill: bool = False

    @classmethod
    def of(
        cls,
        rate: str,
        seconds: float | None,
        events: int | None,
        scale: float = 1.0,
        fill: bool = False,
    ) -> Schedule:
        """Read the command line's words.

        Raises:
            UserMistake: they do not fit together.
        """
        if scale < 1:
            raise UserMistake(f"--time-scale {scale}: event time cannot be slower than wall time")
        if rate == "max":
            if events is None or seconds is not None:
                raise UserMistake("--rate max needs --events (and no --seconds): how many to send")
            return cls(events, None, scale, fill)
        try:
            per_second = float(rate)
        except ValueError:
            per_second = 0.0
        if not 0 < per_second <= 1e7:
            raise UserMistake(f"--rate {rate!r}: give events per second above 0, or max")
        if seconds is not None and events is not None:
            raise UserMistake("give --seconds or --events; with --rate the other follows")
        if events is None:
            if seconds is None and scale != 1:
                raise UserMistake(
                    "--time-scale needs an end, where event time meets the present: add --seconds"
                )
            events = round(per_second * (_ENDLESS_S if seconds is None else seconds))
        return cls(events, per_second, scale, fill)

    @property
    def seconds(self) -> float:
        """Length in wall time; of a backlog, the time in which it is taken to have piled up."""
        return self.events / (self.rate or _BACKLOG_PER_S)

    @property
    def span_ms(self) -> int:
        """Length in event time."""
        return round(self.seconds * self.scale * 1_000)

    def clock(self, now_s: float) -> EventClock:
        """The clock of a run that starts now; a backlog's ends now, all others when they do."""
        if self.rate is None:
            return EventClock(now_s, round(now_s * 1_000) - self.span_ms, self.scale)
        return EventClock.ending_now(now_s, self.seconds, self.scale)


class Simulator:
    """One run of a market against Kafka.

    ``sent`` counts events by kind and ``answered`` outcomes by kind; ``lag`` is by how much
    sending fell behind the schedule. All are safe to read while `run` is under way elsewhere.
    """

    def __init__(
        self, settings: Settings, market: Market, schedule: Schedule, *, answers: bool = True
    ) -> None:
        self.market = market
        self.schedule = schedule
        self.sender = Sender(market)
        self.latencies = LatencyTracker()
        self.lag = Histogram()
        self.sent: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.failed = 0
        self._answers = answers
        self._settings = settings
        self._clock = schedule.clock(time.time())
        self._backlog_ms = 0  # event time while a backlog is sent: that of its newest event

    def run(self, stop: Event, settle_s: float = 0.0) -> None:
        """Send the whole schedule, unless stopped; then go on answering for ``settle_s``.

        Returns when Kafka has everything.
        """
        ensure_topics(self._settings)
        out = producer(
            self._settings,
            **{"delivery.report.only.error": True, "on_delivery": self._count_failure},
        )
        done = Event()
        with ThreadPoolExecutor(1, "answers") as pool:
            reader = self._reader() if self._answers else None
            answering = None if reader is None else pool.submit(self._answer, reader, out, done)
            if answering is not None:
                answering.add_done_callback(lambda it: stop.set() if it.exception() else None)
            try:
                self._send_all(out, stop)
                if answering is not None:
                    stop.wait(settle_s)
            finally:
                done.set()
            if answering is not None:
                answering.result()
        remaining = out.flush(_PATIENCE_S)
        if remaining or self.failed:
            raise UserMistake(
                f"Kafka at {self._settings.bootstrap} did not take {remaining + self.failed} "
                "records; is the broker up (`beckon stack status`)?"
            )

    def _reader(self) -> Consumer:
        reader = consumer(self._settings, "beckon-simulator")
        read_from_now(reader, [DECISIONS])
        return reader

    def _send_all(self, out: Producer, stop: Event) -> None:
        start_ms = self._clock.event_start_ms
        if self.schedule.fill:
            for emission in self.market.fill(start_ms, self.schedule.span_ms):
                if stop.is_set():
                    return
                self._send(out, emission)
            out.flush(_PATIENCE_S)
        # What follows starts now; the fill took a while.
        clock = self._clock = self.schedule.clock(time.time())
        emissions = self.market.events(
            clock.event_start_ms,
            clock.event_start_ms + self.schedule.span_ms,
            self.schedule.events,
            introduce=not self.schedule.fill,
        )
        if self.schedule.rate is None:
            self._send_backlog(out, emissions, stop)
        else:
            self._send_paced(out, emissions, stop)

    def _send_backlog(self, out: Producer, emissions: Iterator[Emission], stop: Event) -> None:
        for emission in emissions:
            if stop.is_set():
                return
            if emission.event_id:
                self.latencies.intend(emission.event_id, time.time())
            self._backlog_ms = emission.due_ms
            self._send(out, emission)
        self._backlog_ms = 0

    def _send_paced(self, out: Producer, emissions: Iterator[Emission], stop: Event) -> None:
        clock = self._clock
        for emission in emissions:
            due_s = clock.wall_s(emission.due_ms)
            now_s = time.time()
            if due_s > now_s:
                out.poll(0)
                if due_s - now_s > _POLL_S:
                    stop.wait(due_s - now_s)
                else:
                    time.sleep(due_s - now_s)
                now_s = time.time()
            if stop.is_set():
                return
            self.lag.record((now_s - due_s) * 1_000)
            if emission.event_id:
                self.latencies.intend(emission.event_id, due_s)
            self._send(out, emission)

    def _send(self, out: Producer, emission: Emission) -> None:
        _produce(out, EVENTS, emission.key, emission.payload)
        self.sent[emission.kind] += 1

    def _answer(self, reader: Consumer, out: Producer, done: Event) -> None:
        """Read decisions and send what became of them, until done and all are read."""
        with closing(reader):
            last = False
            while not last:
                finished = done.is_set()
                first = reader.poll(_POLL_S)
                last = finished and first is None
                messages = [] if first is None else [first, *reader.consume(500, 0)]
                now_s = time.time()
                now_ms = self._event_ms(now_s)
                for message in messages:
                    error = message.error()
                    if error is not None:
                        raise KafkaException(error)
                    decision = _read_decision(message.value() or b"")
                    self.latencies.observe(decision, now_s)
                    self.sender.take(decision, now_ms)
                for answer in self.sender.due(now_ms):
                    _produce(out, answer.topic, answer.key.encode(), answer.payload)
                    if answer.topic == EVENTS:
                        self.sent[answer.kind] += 1
                    else:
                        self.answered[answer.kind] += 1
                out.poll(0)

    def _event_ms(self, now_s: float) -> int:
        """Event time now: never ahead of wall time, and after the end equal to it."""
        return self._backlog_ms or min(int(now_s * 1_000), self._clock.event_ms(now_s))

    def _count_failure(self, error: object, message: object) -> None:
        self.failed += 1


def _produce(out: Producer, topic: str, key: bytes, value: bytes) -> None:
    while True:
        try:
            out.produce(topic, value, key)
            return
        except BufferError:  # the broker is slower than we are: wait for it
            out.poll(0.05)


def simulate(
    customers: Annotated[int, typer.Option(min=1, help="How many the market has.")] = 20_000,
    rate: Annotated[str, typer.Option(help="Events per second, or max.")] = "1000",
    seconds: Annotated[float | None, typer.Option(help="How long; default: until Ctrl-C.")] = None,
    events: Annotated[int | None, typer.Option(min=0, help="How many events to send.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed is the same market.")] = 7,
    time_scale: Annotated[float, typer.Option(help="Event time against wall time.")] = 1.0,
    faults: Annotated[
        str | None, typer.Option(help='Rates as JSON, e.g. {"broken": 0.01}; or none.')
    ] = None,
    fill: Annotated[bool, typer.Option(help="First make every customer known.")] = False,
    answers: Annotated[bool, typer.Option(help="Answer decisions with outcomes.")] = True,
    settle: Annotated[float, typer.Option(min=0, help="Seconds to go on answering.")] = 2.0,
    archive: Annotated[
        Path | None, typer.Option(help="Write days of a market into this folder, no broker.")
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="Of --archive: how many.")] = 100_000,
    days: Annotated[int, typer.Option(min=1, help="Of --archive: up to yesterday.")] = 7,
    truth: Annotated[
        str, typer.Option(help="Of --archive: clicks come of what is observed, or of tastes.")
    ] = "observed",
) -> None:
    """Run a market of customers whose tastes are known.

    With --archive the market is played in this process, on event time, and written as Parquet by
    day for `beckon nightly`: events, outcomes, examples and rewards. The true probability of each
    click lies beside them in truth/.
    """
    if archive is not None:
        _archive(archive, customers, examples, days, seed, truth)
        return
    schedule = Schedule.of(rate, seconds, events, time_scale, fill)
    market = Market(seed, customers, faults=None if faults is None else Faults.parse(faults))
    simulator = Simulator(Settings(), market, schedule, answers=answers)
    console, stop = Console(), Event()
    with ThreadPoolExecutor(1, "simulator") as pool:
        running = pool.submit(simulator.run, stop, settle)
        try:
            _watch(simulator, console, running)
        except KeyboardInterrupt:
            stop.set()
        running.result()
    for line in summary(simulator):
        console.print(line, highlight=False, soft_wrap=True)


def _archive(root: Path, customers: int, examples: int, days: int, seed: int, truth: str) -> None:
    from jobs.market.archive import KINDS, write_archive

    if truth not in KINDS:
        raise UserMistake(f"--truth {truth!r}: one of {', '.join(KINDS)}")
    last = (datetime.now(UTC) - timedelta(days=1)).date()
    counts = write_archive(
        root,
        customers=customers,
        examples=examples,
        days=days,
        last=last,
        seed=seed,
        truth=KINDS[truth],
    )
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    Console().print(f"{root}: {told}, {days} days to {last}", highlight=False, soft_wrap=True)


def _watch(simulator: Simulator, console: Console, running: Future[None]) -> None:
    """Show how far it is: one line that changes on a terminal, a line now and then elsewhere."""
    began_s = then_s = time.monotonic()
    before = 0
    every_s = 0.5 if console.is_terminal else 5.0
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while not running.done():
            wait([running], timeout=every_s)
            now_s, events = time.monotonic(), sum(simulator.sent.values())
            line = (
                f"{now_s - began_s:6.0f} s  {events:,} events "
                f"({(events - before) / (now_s - then_s):,.0f}/s)  {_progress(simulator)}"
            )
            then_s, before = now_s, events
            if console.is_terminal:
                live.update(line, refresh=True)
            else:
                console.print(line, highlight=False, soft_wrap=True)


def _progress(simulator: Simulator) -> str:
    line = (
        f"{sum(simulator.sender.counts.values()):,} decisions  "
        f"{sum(simulator.answered.values()):,} outcomes"
    )
    p99 = simulator.latencies.histogram.percentile(99)
    return line if p99 is None else f"{line}  p99 {p99:,.1f} ms"


def summary(simulator: Simulator) -> list[str]:
    """What a run sent, read and answered, and each arm against the truth."""
    sender, tally = simulator.sender, simulator.sender.tally
    lines = [
        _counted("events", simulator.sent),
        _counted("decisions", sender.counts),
        _counted("outcomes", simulator.answered) + f"; {len(sender):,} not due yet",
    ]
    for name, histogram in (
        ("intended send to decision", simulator.latencies.histogram),
        ("behind schedule", simulator.lag),
    ):
        p50, p99 = histogram.percentile(50), histogram.percentile(99)
        if p50 is not None and p99 is not None:
            lines.append(f"{name}: p50 {p50:,.1f} ms, p99 {p99:,.1f} ms")
    for (campaign, channel), arm in sorted(tally.arms.items()):
        lines.append(
            f"{campaign} by {channel}: {arm.sends:,} sent, click-through "
            f"{arm.clicks / arm.sends:.2%}, truly {arm.true_clicks / arm.sends:.2%}"
        )
    if tally.held_out.decisions:
        low, high = tally.lift_interval
        lines.append(
            f"lift in conversion: {tally.lift:.2%} ({low:.2%} to {high:.2%}), "
            f"truly {tally.mean_true_lift:.2%}"
        )
    return lines


def _counted(what: str, counts: Counter[str]) -> str:
    parts = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
    return f"{sum(counts.values()):,} {what}" + (f": {parts}" if parts else "")
