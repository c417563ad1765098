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

from jobs.archive.write import read_manifest
from jobs.effects.process import read_effects
from jobs.effects.report import Campaigned, summarise
from jobs.kafka import consumer, read_from_now
from jobs.settings import Settings
from jobs.simulator import Simulator
from schemas.audit import AuditRecord, Outcomes, Shadow
from schemas.control import Policy, Posterior
from schemas.deadletter import DeadLetter
from schemas.effect import EffectRecord
from schemas.topics import AUDIT, CONTROL, DEAD_LETTERS, EFFECTS
from schemas.wire import decode_control
from scoring.effect.tally import ORGANIC

_POLL_S: Final = 0.1
_decode_audit: Final = msgspec.json.Decoder(AuditRecord).decode
_decode_letter: Final = msgspec.json.Decoder(DeadLetter).decode
_decode_effect: Final = msgspec.json.Decoder[EffectRecord](EffectRecord).decode


class Sample(Struct, frozen=True):
    """One second of a demo; rates are per second, latencies of that second alone."""

    at_s: float
    events_per_s: float
    decisions_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    posterior_means: dict[str, float]
    click_through: float
    challenger_log_loss: float | None = None
    champion_log_loss: float | None = None


class Watch:
    """Counts of ends and dead letters, the newest of what is published, a sample for each second.

    ``effects`` are the figures of `beckon effects` by their key, ``shadow`` is how the challenger
    does, ``archived`` what `beckon archive` counted by the end.
    """

    def __init__(self, settings: Settings, simulator: Simulator, policy: Policy) -> None:
        self.simulator = simulator
        self.policy = policy
        self.ends: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.posteriors: dict[tuple[str, str], Posterior] = {}
        self.effects: dict[str, EffectRecord] = {}
        self.shadow: Shadow | None = None
        self.archived: dict[str, int] = {}
        self.samples: list[Sample] = []
        self._settings = settings
        self._lock = Lock()
        self._began_s = self._then_s = time.monotonic()
        self._before = (0, 0, simulator.latencies.histogram.counts.copy())

    def read(self, done: Event) -> None:
        """Read the topics until done."""
        reader = consumer(self._settings, "beckon-demo")
        with closing(reader):
            read_from_now(reader, [AUDIT, CONTROL, DEAD_LETTERS, EFFECTS])
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
        shadow = self.shadow
        sample = Sample(
            now_s - self._began_s,
            (events - events_before) / elapsed_s,
            (decisions - decisions_before) / elapsed_s,
            histogram.percentile(50, counts_before),
            histogram.percentile(99, counts_before),
            means,
            self.click_through(),
            None if shadow is None else shadow.challenger_log_loss,
            None if shadow is None else shadow.champion_log_loss,
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

    def brought(self) -> list[Campaigned]:
        """What each campaign brought, and by how much more than from those held out."""
        with self._lock:
            effects = list(self.effects.values())
        return [each for each in summarise(effects) if each.campaign_id != ORGANIC]

    def close(self) -> None:
        """Take the last figures of the processes beside the stream, which have ended."""
        self.effects = {each.key: each for each in read_effects(self._settings)}
        self.archived = read_manifest(self._settings.archive).counted

    def _take(self, topic: str, value: bytes | None) -> None:
        if value is None:
            return
        if topic == AUDIT:
            audit = _decode_audit(value)
            if isinstance(audit, Outcomes):
                self.ends.update(row[3] for row in audit.rows)
            elif isinstance(audit, Shadow):
                self.shadow = audit
        elif topic == DEAD_LETTERS:
            self.refusals[_decode_letter(value).reason] += 1
        elif topic == EFFECTS:
            effect = _decode_effect(value)
            with self._lock:
                self.effects[effect.key] = effect
        else:
            record = decode_control(value)
            if isinstance(record, Posterior):
                with self._lock:
                    self.posteriors[record.campaign_id, record.channel] = record
