"""Reads decisions back as a sender would, and notes when each could be read.

Latency counts from the intended send of the event that triggered a decision to the moment the
probe's Kafka client has it in hand. Which decisions must come is known beforehand from the oracle;
one that does not come is infinitely late.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

import msgspec
from confluent_kafka import TopicPartition

from benchmarks.histogram import Latencies
from benchmarks.openloop import stand_apart
from benchmarks.workload import place_of
from jobs.kafka import consumer
from jobs.settings import Settings
from schemas.topics import DECISIONS

_POLL_S: Final = 0.05

Reading = tuple[int, bytes]
"""Monotonic ns at which a decision was in hand, and its bytes."""


class Seen(msgspec.Struct):
    """The part of a decision by which the probe knows it."""

    decision_id: str


_decode: Final = msgspec.json.Decoder(Seen).decode


@dataclass
class Answers:
    """How a run's decisions came in."""

    latencies: Latencies = field(default_factory=Latencies)
    repeated: int = 0
    unexpected: int = 0


def read_back(settings: Settings, channel: Connection) -> None:
    """Body of the probe's process: says ``ready``, reads until told to stop, answers `Reading`s."""
    stand_apart()
    client = consumer(settings, "beckon-benchmark-probe", **{"fetch.wait.max.ms": 100})
    partitions = client.list_topics(DECISIONS, timeout=10).topics[DECISIONS].partitions
    ends = [TopicPartition(DECISIONS, number) for number in partitions]
    for place in ends:  # positions are fixed before anything is sent
        place.offset = client.get_watermark_offsets(place, timeout=10)[1]
    client.assign(ends)
    client.poll(1.0)
    gc.disable()
    channel.send("ready")
    readings: list[Reading] = []
    now, poll = time.monotonic_ns, client.poll
    while not channel.poll():
        until = now() + 200_000_000
        while now() < until:
            message = poll(_POLL_S)
            if message is not None and message.error() is None:
                readings.append((now(), message.value() or b""))
    gc.enable()
    client.close()
    channel.send(readings)


def judge(
    readings: Sequence[Reading],
    expected: Mapping[str, str],
    allowed: Container[str],
    offsets_ns: Sequence[int],
    start_ns: int,
    warm_up_ns: int = 0,
) -> Answers:
    """Match readings to what had to come.

    ``expected`` maps each decision that an event of this run must cause to that event's id;
    ``allowed`` holds those that may come besides (waits that run out). Events meant to go out
    before ``warm_up_ns`` are not counted.
    """
    answers = Answers()
    came: dict[str, int] = {}
    for at_ns, value in readings:
        decision_id = _decode(value).decision_id
        if decision_id in came:
            answers.repeated += 1
        elif decision_id in expected:
            came[decision_id] = at_ns
        elif decision_id not in allowed:
            answers.unexpected += 1
    for decision_id, event_id in expected.items():
        intended_ns = offsets_ns[place_of(event_id)]
        if intended_ns < warm_up_ns:
            continue
        at = came.get(decision_id)
        if at is None:
            answers.latencies.record_missing(intended_ns)
        else:
            answers.latencies.record(intended_ns, at - start_ns - intended_ns)
    return answers
