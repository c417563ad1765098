"""Whatever the order in which partitions are read, and after whatever crash: the same decisions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.records import Output
from operators.shard import SEPARATOR, Decider, DeciderConfig, MemoryStore
from schemas import topics
from schemas.control import AbsenceTrigger, ControlRecord
from schemas.decision import Decision
from schemas.wire import encode
from state.clock import IDLE_MS, QUIET_MS, TICK_GRACE_MS
from tests.builders import EVEN, HOUR, MINUTE, abandonment, on_cart, policy
from tests.harness import control

START_MS: Final = 1_700_000_000_000
TICK_MS: Final = 200
PARTITIONS: Final = 3
SHARD: Final = "shard"
SOON_MS: Final = 5_000

LIVE: Final[list[ControlRecord]] = [
    policy(cap_sends=2, cap_window_ms=MINUTE, lateness_ms=1_000, learning=EVEN),
    abandonment(trigger=AbsenceTrigger(("cart",), ("purchase",), SOON_MS), cooldown_ms=0),
    on_cart(trigger=AbsenceTrigger(("view",), ("purchase", "cart"), 2 * SOON_MS)),
]
"""Events are of now, and waits end within seconds."""
OLD: Final[list[ControlRecord]] = [
    policy(cap_sends=2, cap_window_ms=6 * HOUR, learning=EVEN),
    abandonment(cooldown_ms=0),
    on_cart(trigger=AbsenceTrigger(("view",), ("purchase", "cart"), HOUR)),
]
"""A day long ago, put on the topic within seconds."""


@dataclass(frozen=True)
class Record:
    """An event where Kafka has it."""

    partition: int
    offset: int
    came_ms: int
    payload: dict[str, Any]

    @property
    def text(self) -> str:
        head = (topics.EVENTS, str(self.partition), str(self.offset), str(self.came_ms))
        return SEPARATOR.join((*head, encode(self.payload).decode("latin-1")))


Log = list[list[Record]]


@st.composite
def logs(draw: st.DrawFn, *, live: bool) -> Log:
    """A log of each partition; what was put on the topic later happened later.

    Of a day long ago no partition is silent for `IDLE_MS`: it would be left out, and what it holds
    when it speaks again be hours too late by the clock of the others.
    """
    pauses_ms = [0, 0, 40, 700, *([3_000, 20_000, IDLE_MS + 5_000] if live else [])]
    found: Log = [[] for _ in range(PARTITIONS)]
    agreed: dict[str, bool] = {}
    came_ms, ts = START_MS, START_MS - 30 * 24 * HOUR
    for number in range(draw(st.integers(0, 30))):
        came_ms += draw(st.sampled_from(pauses_ms))
        ts = came_ms if live else ts + draw(st.sampled_from([0, MINUTE, 20 * MINUTE, HOUR]))
        partition = number if number < PARTITIONS else draw(st.integers(0, PARTITIONS - 1))
        user = f"{partition}-{draw(st.integers(0, 1))}"
        payload: dict[str, Any] = {
            "event_id": f"e{number}",
            "user_id": user,
            "action": draw(st.sampled_from(["cart", "cart", "view", "purchase", "login"])),
            "ts": ts,
        }
        if user not in agreed or draw(st.integers(0, 3)) == 0:
            agreed[user] = not agreed.get(user, False)
            payload["consent"] = dict.fromkeys(("marketing", "sms", "push", "email"), agreed[user])
        records = found[partition]
        records.append(Record(partition, len(records), came_ms, payload))
    return found


@dataclass
class Reader:
    """A shard, what it has read of each partition, and what it has published."""

    log: Log
    control: list[ControlRecord]
    wall_ms: int = START_MS
    store: MemoryStore = field(default_factory=MemoryStore)
    read: Counter[int] = field(default_factory=Counter)
    read_ms: dict[int, int] = field(default_factory=dict)
    published: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._start()

    def _start(self) -> None:
        made = list(self.published)
        self.decider = Decider(
            DeciderConfig(partitions=PARTITIONS), control(*self.control), lambda _saved_ms: made
        )
        self.read_ms = dict.fromkeys(range(PARTITIONS), self.wall_ms)
        self.up_ms, self.hold_ms = self.wall_ms, QUIET_MS
        self._tick(0)  # as Flink's operator does before a shard's first batch

    def unread(self, partition: int) -> list[Record]:
        """What Kafka has that was not read."""
        rest = self.log[partition][self.read[partition] :]
        return [record for record in rest if record.came_ms <= self.wall_ms]

    def step(self, wanted: dict[int, int]) -> None:
        """Until the next tick: so many records of each partition, in a batch of its own each."""
        self.wall_ms += TICK_MS
        for partition in range(PARTITIONS):
            unread = self.unread(partition)
            count = wanted.get(partition, 0)
            if unread and self._must_read(partition, unread[0]):
                count = max(1, count)
            if unread and count:
                self._hear(self.decider.on_batch(SHARD, self.store, self._take(partition, count)))
        self._tick(0)

    def _must_read(self, partition: int, oldest: Record) -> bool:
        """What is promised of a source: it does not leave a partition unread for very long."""
        age_ms = self.wall_ms - oldest.came_ms
        if self.read_ms[partition] <= self.up_ms:  # not read since it went on
            return self.wall_ms > self.up_ms + self.hold_ms - 2 * TICK_MS or (
                self.hold_ms < TICK_GRACE_MS and age_ms > TICK_GRACE_MS - 2 * TICK_MS
            )
        return age_ms > TICK_GRACE_MS - 2 * TICK_MS

    def _take(self, partition: int, count: int) -> list[str]:
        taken = self.unread(partition)[:count]
        self.read[partition] += len(taken)
        self.read_ms[partition] = self.wall_ms
        return [record.text for record in taken]

    def stand_still(self, for_ms: int) -> None:
        """Neither reads nor ticks for a while."""
        self.wall_ms += for_ms
        self.up_ms, self.hold_ms = self.wall_ms, min(for_ms, QUIET_MS)
        self._tick(for_ms)

    def crash(self, saved: tuple[MemoryStore, Counter[int]], for_ms: int) -> None:
        """Back to a checkpoint; it goes on after a while."""
        self.store, self.read = MemoryStore(saved[0]), Counter(saved[1])
        self.wall_ms += for_ms
        self._start()

    def checkpoint(self) -> tuple[MemoryStore, Counter[int]]:
        return MemoryStore(self.store), Counter(self.read)

    def _tick(self, late_ms: int) -> None:
        self._hear(self.decider.on_tick(SHARD, self.store, self.wall_ms, late_ms))

    def _hear(self, outputs: list[Output]) -> None:
        for output in outputs:
            topic, _, value = output
            if topic == topics.DECISIONS:
                self.published.append(msgspec.json.decode(value, type=Decision))

    def to_the_end(self) -> dict[str, set[bytes]]:
        """Read the rest, let the last waits end; decision id → contents published under it."""
        left = True
        while left:
            self.step(dict.fromkeys(range(PARTITIONS), 1_000))
            left = any(self.read[n] < len(self.log[n]) for n in range(PARTITIONS))
        for _ in range(4):
            for _ in range((QUIET_MS + 4 * SOON_MS) // TICK_MS // 4):
                self.step({})
        found: dict[str, set[bytes]] = {}
        for each in self.published:
            found.setdefault(each.decision_id, set()).add(encode(each))
        return found


_steps = st.lists(
    st.tuples(
        st.sampled_from(["read", "read", "read", "read", "read", "still", "crash", "save"]),
        st.dictionaries(st.integers(0, PARTITIONS - 1), st.integers(1, 12), max_size=PARTITIONS),
        st.sampled_from([1, 1, 5, 60]),
        st.sampled_from([1_200, 4_000, 15_000, 70_000]),
    ),
    max_size=20,
)


@pytest.mark.parametrize("live", [True, False], ids=["live", "a day long ago"])
@settings(max_examples=60)
@given(data=st.data())
def test_the_decisions_hang_on_the_log_alone(live: bool, data: st.DataObject) -> None:
    log, rules = data.draw(logs(live=live)), LIVE if live else OLD
    expected = Reader(log, rules).to_the_end()
    reader = Reader(log, rules)
    saved = reader.checkpoint()
    for what, wanted, steps, for_ms in data.draw(_steps):
        if what == "read":
            for number in range(steps):
                reader.step(wanted if number % 5 == 0 else {})
        elif what == "still":
            reader.stand_still(for_ms)
        elif what == "crash":
            reader.crash(saved, for_ms)
        else:
            saved = reader.checkpoint()
    assert reader.to_the_end() == expected
