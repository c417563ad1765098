"""An open-loop generator: sends by the clock, whatever becomes of what it sends.

Payloads are made before, the schedule is fixed before, and an event that could not go out in time
still counts from the moment it was meant to. The generator's own lag (between intending and handing
over to the Kafka client) is recorded: above `LAG_LIMIT_MS` at p99 the run says more about the
generator than about the engine and is void.

It runs in a process of its own, so that nothing of the probe or the contender holds its lock.
"""

from __future__ import annotations

import gc
import math
import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.histogram import histogram, quantile_ms
from benchmarks.workload import Workload
from jobs.kafka import producer
from jobs.settings import Settings

LAG_LIMIT_MS: Final = 1.0
BURST_FACTOR: Final = 5
BURST_EVERY_S: Final = 10
"""Bursts: one second in so many has `BURST_FACTOR` times the rate of the others."""

_IDLE_NS: Final = 100_000
"""With so long to wait there is time to look after deliveries. The wait itself is slept, never
spun: spinning took a third of a core from the contender, and a late waking is recorded as lag."""

_PRIORITY: Final = -10

_CLIENT: Final[dict[str, object]] = {
    # What librdkafka and, since Kafka 4, the Java client ship; it counts, from the intended moment.
    "linger.ms": 5,
    "acks": 1,
    "enable.idempotence": False,
    # Thousands of good deliveries reported at one moment would hold up what is due meanwhile.
    "delivery.report.only.error": True,
}

Shape = Literal["constant", "poisson", "bursts"]


@dataclass(frozen=True)
class Schedule:
    """When each of ``events`` events is meant to go out, at ``rate`` a second on average."""

    rate: float
    events: int
    shape: Shape = "constant"
    seed: int = 1

    def offsets_ns(self) -> NDArray[np.int64]:
        """Nanoseconds from the start, never decreasing."""
        match self.shape:
            case "constant":
                return (np.arange(self.events) * (1e9 / self.rate)).astype(np.int64)
            case "poisson":
                gaps = np.random.default_rng(self.seed).exponential(1e9 / self.rate, self.events)
                return np.cumsum(gaps).astype(np.int64)
            case "bursts":
                return self._bursts()

    def _bursts(self) -> NDArray[np.int64]:
        base = self.rate * BURST_EVERY_S / (BURST_EVERY_S - 1 + BURST_FACTOR)
        seconds = math.ceil(self.events / self.rate / BURST_EVERY_S) * BURST_EVERY_S
        rates = np.full(seconds, base)
        rates[BURST_EVERY_S // 2 :: BURST_EVERY_S] *= BURST_FACTOR
        due = np.concatenate([[0.0], np.cumsum(rates)])
        return (np.interp(np.arange(self.events), due, np.arange(seconds + 1)) * 1e9).astype(
            np.int64
        )


@dataclass(frozen=True)
class Sent:
    """What a generator reports. Times are of the machine's monotonic clock."""

    start_ns: int
    events: int
    failed: int
    lag_p50_ms: float
    lag_p99_ms: float
    lag_worst_ms: float
    scheduling: str = "ordinary"
    """How the kernel ran the generator's process; see `stand_apart`."""

    def void_reasons(self) -> list[str]:
        """Why the run says nothing; empty for a good one."""
        reasons = []
        if self.failed:
            reasons.append(f"{self.failed} events never reached Kafka")
        if not self.lag_p99_ms <= LAG_LIMIT_MS:
            reasons.append(
                f"the generator lagged {self.lag_p99_ms:.2f} ms at p99, above {LAG_LIMIT_MS} ms"
            )
        return reasons


def generate(
    settings: Settings, topic: str, workload: Workload, schedule: Schedule, channel: Connection
) -> None:
    """Body of the generator's process.

    Makes the payloads, says ``ready``, waits for the start on the monotonic clock, sends, and
    answers with `Sent`.
    """
    messages = workload.messages()
    offsets = schedule.offsets_ns().tolist()
    scheduling = stand_apart()
    client = producer(settings, **_CLIENT)
    client.list_topics(topic, timeout=10)  # connected before the clock runs
    gc.disable()
    channel.send("ready")
    start_ns = cast(int, channel.recv())
    lags, failed = _send(client, topic, messages, offsets, start_ns)
    gc.enable()
    lag = histogram()
    for value in lags:
        lag.record_value(max(1, value // 1_000))
    channel.send(
        Sent(
            start_ns,
            len(messages),
            failed,
            quantile_ms(lag, 50),
            quantile_ms(lag, 99),
            quantile_ms(lag, 100),
            scheduling,
        )
    )


def _send(
    client: Any, topic: str, messages: list[tuple[bytes, bytes]], offsets: list[int], start_ns: int
) -> tuple[list[int], int]:
    """Send each message at its time; the lag of each in ns and how many were not delivered."""
    failures = [0]

    def delivered(error: object, _message: object) -> None:
        failures[0] += error is not None

    now, sleep, produce = time.monotonic_ns, time.sleep, client.produce
    lags = []
    for (key, value), offset in zip(messages, offsets, strict=True):
        intended = start_ns + offset
        if intended - now() > _IDLE_NS:
            client.poll(0)
        if (wait := intended - now()) > 0:
            sleep(wait / 1e9)
        lags.append(now() - intended)
        produce(topic, value, key, on_delivery=delivered)
    left = client.flush(30)
    return lags, failures[0] + left


def stand_apart() -> str:
    """Ask the kernel to run this process as soon as it can, as if on a machine of its own.

    Call it before any thread of the process starts: only those that start after it inherit it.
    Returns what was granted, for the results: real-time scheduling, a raised priority, or neither,
    which an ordinary user may not have; the recorded lag tells whether it mattered.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return "SCHED_FIFO"
    except PermissionError:
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
        return f"nice {_PRIORITY}"
    except PermissionError:
        return "ordinary"
