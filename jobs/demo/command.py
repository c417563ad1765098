"""``beckon demo``: servers, job, projector, model and market up; watch; report; everything down."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Annotated, Any, Final

import typer
from msgspec.structs import replace
from rich.console import Console
from rich.live import Live

from jobs.campaigns.files import read_files
from jobs.demo import report, screen
from jobs.demo.history import first_model
from jobs.demo.services import beckon, services
from jobs.demo.watch import Watch
from jobs.effects.memory import state_file
from jobs.kafka import ensure_topics, producer
from jobs.ledger import read_ledger
from jobs.market.faults import Faults
from jobs.market.market import Market
from jobs.settings import Settings
from jobs.simulator import Schedule, Simulator
from jobs.stack.local import LocalStack
from schemas.control import Campaign, ControlRecord, Policy, control_key
from schemas.errors import UserMistake
from schemas.topics import CONTROL
from schemas.wire import encode

PORT_STEP: Final = 1_000
EVENT_HOURS: Final = 6
ATTRIBUTION_MS: Final = 30 * 60_000
_SETTLE_S: Final = 5.0
_TELLING_S: Final = 3.0
"""For the processes beside the stream to read the last of it."""
_PATIENCE_S: Final = 30.0


def demo(
    seconds: Annotated[float, typer.Option(min=10, help="How long the market runs.")] = 120.0,
    rate: Annotated[float, typer.Option(min=1, help="Events per second.")] = 500.0,
    customers: Annotated[int, typer.Option(min=100, help="How many the market has.")] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed is the same market.")] = 7,
    to: Annotated[Path, typer.Option(help="Where the report goes.")] = Path(
        "beckon-demo-report.html"
    ),
) -> None:
    """Run the whole product against a simulated market, live, and report what it did.

    Six hours of event time pass in the given seconds, so that carts have time to be abandoned.
    It has servers and data of its own (ports 1000 above the configured ones), starts from nothing
    each time and stops what it started. Ctrl-C ends it early, with the report.
    """
    console = Console()
    settings = demo_settings(Settings())
    steps = screen.Steps(console)
    control = demo_control(settings)
    with ThreadPoolExecutor(4, "demo") as pool:
        training = pool.submit(first_model, control)
        with servers(settings, console):
            steps.done("Kafka, Redis, HBase and Flink are up")
            model = training.result()
            steps.done(f"first model trained: AUC {model.auc:.3f} on {model.held_out_rows:,} rows")
            publish(settings, [*control, model.model])
            beckon(settings, "run", "--fresh")
            steps.done("campaigns and model published, the stream runs")
            with services(settings) as check:
                market = Market(seed, customers, faults=Faults())
                schedule = Schedule.of(
                    str(rate), seconds, None, max(1.0, EVENT_HOURS * 3_600 / seconds)
                )
                simulator = Simulator(settings, market, schedule)
                policy = next(record for record in control if isinstance(record, Policy))
                watch = Watch(settings, simulator, policy)
                run_market(watch, pool, console, seconds, check)
                ledger = closing_ledger(settings)
                time.sleep(_TELLING_S)
            watch.close()
            beckon(settings, "stop")
    for text in learned(watch, ledger):
        console.print(text, highlight=False)
    to.write_text(report.page(watch, ledger, model), encoding="utf-8")
    console.print(f"The report is in [bold]{to}[/].")
    if not ledger["balanced"]:
        raise typer.Exit(1)


def demo_settings(settings: Settings) -> Settings:
    """Settings of the demo's own servers and data, beside the configured ones.

    Where there is no port, which is what 0 says, there is none here either.
    """
    ports = {name: port + PORT_STEP for name, port in settings if name.endswith("_port") and port}
    data = settings.data_dir / "demo"
    own = {"data_dir": data, "archive_dir": data / "archive", "flink_metrics": False}
    return settings.model_copy(update={**ports, **own})


def demo_control(settings: Settings) -> list[ControlRecord]:
    """The shipped campaigns and policy; windows short enough to close while one watches."""
    records: list[ControlRecord] = []
    for file in read_files([settings.infra / "campaigns"]):
        record = file.record
        if isinstance(record, Campaign):
            record = replace(record, attribution_window_ms=ATTRIBUTION_MS, updated_ms=1)
        records.append(record)
    if not any(isinstance(record, Policy) for record in records):
        records.append(Policy())
    return records


@contextmanager
def servers(settings: Settings, console: Console) -> Iterator[None]:
    """Real servers with empty data; all are stopped and their data deleted at the end."""
    stack = LocalStack(
        settings,
        lambda name, what: console.print(f"  [dim]{name}: {what}[/]", highlight=False),
    )
    if stack.root.exists():
        stack.wipe()
    shutil.rmtree(settings.archive, ignore_errors=True)  # of topics that are no more
    state_file(settings).unlink(missing_ok=True)
    try:
        stack.up()
        ensure_topics(settings)
        yield
    finally:
        console.print("[dim]stopping what was started …[/]")
        stack.wipe()


def publish(settings: Settings, records: Sequence[ControlRecord]) -> None:
    """Put control records on their topic."""
    out = producer(settings)
    for record in records:
        out.produce(CONTROL, encode(record), control_key(record))
    if out.flush(_PATIENCE_S):
        raise UserMistake(f"Kafka at {settings.bootstrap} did not take the campaigns")


def run_market(
    watch: Watch,
    pool: ThreadPoolExecutor,
    console: Console,
    seconds: float,
    check: Callable[[], None],
) -> None:
    """Run the market to its end, or to Ctrl-C, and show it.

    ``check`` raises when something that belongs to the product has ended.
    """
    stop, done = Event(), Event()
    reading = pool.submit(watch.read, done)
    running = pool.submit(watch.simulator.run, stop, _SETTLE_S)
    try:
        _show(watch, console, [running, reading], seconds, check)
    except KeyboardInterrupt:
        console.print("[yellow]stopping early[/]")
        stop.set()
    except UserMistake:
        stop.set()
        done.set()
        raise
    running.result()
    time.sleep(1.0)  # the last posteriors and audit records are on their way
    done.set()
    reading.result()


def closing_ledger(settings: Settings) -> dict[str, Any]:
    """The ledger once the last inputs have their ends, balanced or not."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        ledger = read_ledger(settings)
        if ledger.balanced or time.monotonic() > deadline_s:
            return ledger.as_json()
        time.sleep(0.5)


def learned(watch: Watch, ledger: dict[str, Any]) -> list[str]:
    """What the run came to, against the truth."""
    from jobs.simulator import summary

    tally = watch.simulator.sender.tally
    lines = summary(watch.simulator)
    if tally.regret_of_equal_split:
        share = tally.regret / tally.regret_of_equal_split
        lines.append(f"regret: {share:.0%} of that of splitting the channels equally")
    lines.append(
        "ledger: every input has exactly one outcome"
        if ledger["balanced"]
        else f"ledger: DOES NOT BALANCE: {json.dumps(ledger)}"
    )
    return lines


def _show(
    watch: Watch,
    console: Console,
    under_way: Sequence[Future[None]],
    seconds: float,
    check: Callable[[], None],
) -> None:
    running = under_way[0]
    every_s = 1.0 if console.is_terminal else 5.0
    ends_s = time.monotonic() + seconds + _SETTLE_S
    with Live(console=console, auto_refresh=False) as live:
        while not wait([running], timeout=every_s).done:
            for each in under_way:
                if each.done():
                    each.result()
            check()
            sample = watch.sample()
            if console.is_terminal:
                left_s = max(0.0, ends_s - time.monotonic())
                live.update(screen.live(watch, sample, left_s), refresh=True)
            else:
                console.print(screen.line(watch, sample), highlight=False, soft_wrap=True)
