"""The core in a bare confluent-kafka loop: `consume(500)`, decide, produce.

The floor that an engine is measured against. Nothing in it is durable: state is a dictionary, and a
crash loses it. It takes all customers as one shard, which spares it the work of splitting batches.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Final

from jobs.kafka import consumer, control_snapshot, producer
from jobs.settings import Settings
from operators.routes import bulk, prompt
from operators.shard import SEPARATOR, Decider, DeciderConfig, MemoryStore
from schemas.topics import INPUTS

BATCH: Final = 500
_WAIT_S: Final = 0.005
_COMMIT_S: Final = 1.0
_TICK_S: Final = 0.2
_SHARD: Final = "00"


class PlainLoop:
    """`benchmarks.contenders.base.Contender` of one Python process."""

    name = "plain_loop"
    describes = "confluent-kafka consume(500) around the same core, state in a dict, not durable"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: BaseProcess | None = None

    def start(self) -> None:
        """Start the loop's process."""
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=run, args=(self._settings,), name=self.name)
        self._process.start()

    def stop(self) -> None:
        """Ask the process to end, and make it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()

    def pids(self) -> Sequence[int]:
        """The one process."""
        return [] if self._process is None or self._process.pid is None else [self._process.pid]

    def worker_pids(self) -> Sequence[int]:
        """The same one."""
        return self.pids()

    def check(self) -> None:
        """Raise when the process has ended."""
        if self._process is None or not self._process.is_alive():
            raise RuntimeError("the plain loop has died; its traceback is above")


def run(settings: Settings) -> None:
    """Body of the process: runs until it is terminated."""
    ended = False

    def end(_signal: int, _frame: FrameType | None) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    decider = Decider(
        DeciderConfig(cached_customers=1_000_000, partitions=settings.partitions, lends=True),
        control_snapshot(settings),
    )
    store = MemoryStore()
    source = consumer(settings, "beckon-benchmark-plain-loop")
    sink = producer(settings, **{"linger.ms": 1})
    source.subscribe(list(INPUTS))
    committed = tick_at = time.monotonic()
    while not ended:
        messages = source.consume(BATCH, _WAIT_S)
        records = [
            SEPARATOR.join(
                (
                    message.topic() or "",
                    str(message.partition()),
                    str(message.offset()),
                    str(message.timestamp()[1]),
                    (message.value() or b"").decode("latin-1"),
                )
            )
            for message in messages
            if message.error() is None
        ]
        outputs = []
        if time.monotonic() >= tick_at:  # a shard must know the time before it reads
            outputs += decider.on_tick(_SHARD, store, time.time_ns() // 1_000_000)
            tick_at = time.monotonic() + _TICK_S
        if records:
            outputs += decider.on_batch(_SHARD, store, records)
        for output in (*prompt(outputs), *bulk(outputs)):
            topic, key, value = output
            while True:
                try:
                    sink.produce(topic, value, key.encode())
                    break
                except BufferError:
                    sink.poll(0.05)
        sink.poll(0)
        if records and time.monotonic() - committed > _COMMIT_S:
            source.commit(asynchronous=True)
            committed = time.monotonic()
    sink.flush(10)
    source.close()
