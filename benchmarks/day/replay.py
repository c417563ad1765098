"""The day once more, without effects: the core alone, from nothing, over what Kafka recorded.

Everything is decided anew by the gates, from the inputs in the order of their partitions. One thing
is pinned as it was: the money. Which shard had borrowed how much at which moment is decided by
clocks of the machine, so the messages that a budget paid for are taken as published, and no other
is paid. All that follows from them (caps, arbitration, cooldowns) is decided anew.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from benchmarks.core import SHARDS
from operators.shard import SEPARATOR, Decider, DeciderConfig, MemoryStore, shard_of
from schemas import topics
from schemas.control import Campaign, ControlRecord, control_key
from schemas.decision import Decision
from schemas.wire import encode

_BATCH: Final = 25
_decode: Final = msgspec.json.Decoder(Decision).decode


class Recorded(NamedTuple):
    """An input as Kafka has it."""

    topic: str
    partition: int
    offset: int
    ingested_ms: int
    user_id: str
    payload: bytes


def replay(
    parts: Iterable[Sequence[Recorded]],
    control: Iterable[ControlRecord],
    published: Iterable[Decision],
) -> Iterator[Decision]:
    """What the core decides of the recorded inputs; ``parts`` follow each other."""
    records = list(control)
    metered = _metered(records)
    paid = [each for each in published if each.campaign_id in metered]
    decider = Decider(
        DeciderConfig(200_000),
        [(control_key(record), encode(record)) for record in records],
        lambda _saved_ms: paid,
        inherited={},
    )
    decider.world.standing = None
    stores: defaultdict[str, MemoryStore] = defaultdict(MemoryStore)
    for part in parts:
        for shard, batch in batches(part):
            for output in decider.on_batch(shard, stores[shard], batch):
                topic, _, value = output
                if topic == topics.DECISIONS:
                    yield _decode(value)


def digest(decisions: Iterable[Decision], control: Iterable[ControlRecord]) -> str:
    """A hash that is equal for equal decisions, each counted once and in whatever order.

    Left out are when Kafka took the trigger in, which a replay must not have to know, and what is
    told of rivals that had no money, which is a matter of the moment.
    """
    metered = _metered(control)
    records = {
        each.decision_id: encode(
            msgspec.structs.replace(
                each,
                ingested_ms=0,
                losers=tuple(other for other in each.losers if other.campaign_id not in metered),
            )
        )
        for each in decisions
    }
    total = hashlib.sha256()
    for _, record in sorted(records.items()):
        total.update(record + b"\n")
    return total.hexdigest()


def _metered(control: Iterable[ControlRecord]) -> set[str]:
    return {r.id for r in control if isinstance(r, Campaign) and r.budget is not None}


def batches(part: Sequence[Recorded]) -> Iterator[tuple[str, list[str]]]:
    """Micro-batches by shard; each topic and partition keeps its order, and they keep step.

    Partitions are read side by side in the order of event time, as closely as a broker serves them.
    """
    waiting: defaultdict[str, list[str]] = defaultdict(list)
    for record in part:
        shard = shard_of(record.user_id, SHARDS)
        head = (record.topic, str(record.partition), str(record.offset), str(record.ingested_ms))
        waiting[shard].append(SEPARATOR.join((*head, record.payload.decode("latin-1"))))
        if len(waiting[shard]) == _BATCH:
            yield shard, waiting.pop(shard)
    yield from waiting.items()
