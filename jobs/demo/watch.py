"""What happens on the topics while a demo runs, and its figures second by second."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from threading import Event, Lock
from typing import Final

import msgspec
from confluent_kafka import KafkaException
from msgspec import Struct

from jobs.kafka import consumer, read_from_now
from jobs.settings import Settings
from jobs.simulator import Simulator
from schemas.audit import AuditRecord, Outcomes
from schemas.control import Policy, Posterior
from schemas.deadletter import DeadLetter
from schemas.topics import AUDIT, CONTROL, DEAD_LETTERS
from schemas.wire import decode_control

_POLL_S: Final = 0.1
_decode_audit: Final = msgspec.json.Decoder(AuditRecord).decode
_decode_letter: Final = msgspec.json.Decoder(DeadLetter).decode


class Sample(Struct, frozen=True):
    """One second of a demo; rates are per second, latencies of that second alone."""

    at_s: float
    events_per_s: float
    decisions_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    posterior_means: dict[str, float]
    click_through: float


class Watch:
    """Counts of ends and dead letters, the newest posteriors, and a sample for each second."""

    def __init__(self, settings: Settings, simulator: Simulator, policy: Policy) -> None:
        self.simulator = simulator
        self.policy = policy
        self.ends: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.posteriors: dict[tuple[str, str], Posterior] = {}
        self.samples: list[Sample] = []
        self._settings = settings
        self._lock = Lock()
        self._began_s = self._then_s = time.monotonic()
        self._before = (0, 0, simulator.latencies.histogram.counts.copy())

    def read(self, done: Event) -> None:
        """Read the topics until done."""
        reader = consumer(self._settings, "beckon-demo")
        with closing(reader):
            read_from_now(reader, [AUDIT, CONTROL, DEAD_LETTERS])
            while not done.is_set():
                for message in reader.consume(1_000, timeout=_POLL_S):
                    error = message.error()
                    if error is not None:
                        raise KafkaException(error)
                    self._take(message.topic() or "", message.value())

    def sample(self) -> Sample:
        """The figures since the last call."""
        simulator, now_s = self.simulator, time.monotonic()
        histogram = simulator.latencies.histogram
        events = sum(simulator.sent.values())
        decisions = sum(simulator.sender.counts.values())
        events_before, decisions_before, counts_before = self._before
        elapsed_s = max(1e-9, now_s - self._then_s)
        with self._lock:
            means = {
                f"{campaign}/{channel}": arm.alpha / (arm.alpha + arm.beta)
                for (campaign, channel), arm in sorted(self.posteriors.items())
            }
        sample = Sample(
            now_s - self._began_s,
            (events - events_before) / elapsed_s,
            (decisions - decisions_before) / elapsed_s,
            histogram.percentile(50, counts_before),
            histogram.percentile(99, counts_before),
            means,
            self.click_through(),
        )
        self._before = (events, decisions, histogram.counts.copy())
        self._then_s = now_s
        self.samples.append(sample)
        return sample

    def click_through(self) -> float:
        """Clicks per message sent, of all arms."""
        arms = list(self.simulator.sender.tally.arms.values())
        return sum(arm.clicks for arm in arms) / max(1, sum(arm.sends for arm in arms))

    def spend(self) -> dict[str, float]:
        """What the messages cost, by channel, in the policy's currency."""
        spend: dict[str, float] = {}
        for (_, channel), arm in list(self.simulator.sender.tally.arms.items()):
            cost = arm.sends * self.policy.channel_cost.get(channel, 0.0)
            spend[channel] = spend.get(channel, 0.0) + cost
        return spend

    def _take(self, topic: str, value: bytes | None) -> None:
        if value is None:
            return
        if topic == AUDIT:
            audit = _decode_audit(value)
            if isinstance(audit, Outcomes):
                self.ends.update(row[3] for row in audit.rows)
        elif topic == DEAD_LETTERS:
            self.refusals[_decode_letter(value).reason] += 1
        else:
            record = decode_control(value)
            if isinstance(record, Posterior):
                with self._lock:
                    self.posteriors[record.campaign_id, record.channel] = record
