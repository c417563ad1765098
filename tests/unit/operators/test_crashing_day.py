"""The judged day in one process: partitions read unevenly, crashes, answers; as if none had been.

What `make prove-decisions` shows on real servers. Loans come from a keeper, in their time.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec
import pytest

from benchmarks.day import events, rules
from benchmarks.day.judge import KINDS, Judge
from benchmarks.day.replay import Recorded, digest, replay
from benchmarks.prove_decisions import differences, side_by_side
from jobs.audit.recorded import Entry, Input, Made, Step
from jobs.audit.rerun import Rerun, rerun
from operators import batch, names
from operators.granting import Granter
from operators.records import SEPARATOR, Output, Record
from operators.sealing import leases_in
from operators.shard import Decider, DeciderConfig, MemoryStore, shard_of
from schemas import topics
from schemas.audit import Outcomes, TakenUp
from schemas.decision import Decision
from schemas.wire import encode
from tests.harness import control

EVENTS = 4_000
PARTITIONS = 4
SHARDS = 4
NAMES = "876e"
RULES = rules.control(EVENTS)
PLACES = [(topic, partition) for topic in topics.INPUTS for partition in range(PARTITIONS)]
Saved = tuple[dict[str, MemoryStore], Counter[tuple[str, int]], dict[str, bytes]]


class Stream:
    """Topics, and shards that read them in an order that chance has, checkpointed now and then."""

    def __init__(self, seed: int, served: int) -> None:
        self.served = served
        self.draw = random.Random(seed)
        self.wall_ms = events.BEGINS_MS + 40 * 86_400_000
        self.log: defaultdict[tuple[str, int], list[Recorded]] = defaultdict(list)
        self.read: Counter[tuple[str, int]] = Counter()
        self.stores: defaultdict[str, MemoryStore] = defaultdict(MemoryStore)
        self.published: list[Decision] = []
        self.ended: set[tuple[str, int, int]] = set()
        self.marks: list[dict[tuple[str, int], int]] = []
        self.ledgers: dict[str, bytes] = {}
        self.asks: defaultdict[str, list[str]] = defaultdict(list)
        self.lent: list[tuple[str, bytes]] = []
        self.made: list[Made] = []
        self.steps: list[Step] = []
        self.saved: Saved = ({}, Counter(), {})
        self._start(first=True)

    def _start(self, *, first: bool) -> None:
        made = list(self.published)

        def unread(_saved_ms: int) -> list[Record] | None:
            return None if first else self._outcomes()

        # The loans are read at once, what else has come of the control topic is heard by and by.
        self._heard = self.draw.randrange(len(self.lent) + 1)
        before = len(RULES) - 1
        self._decider = Decider(
            self._config(),
            [*control(*RULES), *self.lent[: self._heard]],
            lambda _saved_ms: made,
            {},
            unread,
            heard=before + self._heard,
            taken_up=TakenUp(before, before + len(self.lent)),
        )
        for lease in leases_in(self.lent).values():
            self._decider.world.leases.accept(lease)
        self._granter = Granter(leases_in(self.lent))
        self.asks.clear()
        self.tick()

    def _config(self) -> DeciderConfig:
        return DeciderConfig(shards=SHARDS, partitions=PARTITIONS, due_customers=self.served)

    def again(self) -> Rerun:
        """What is decided by the steps that were told."""
        inputs = [
            Input(record.ingested_ms, *record[:3], record.user_id, record.payload)
            for records in self.log.values()
            for record in records
        ]
        log = [
            Entry(offset, 0, *record)
            for offset, record in enumerate([*control(*RULES), *self.lent])
        ]
        return rerun(self.steps, inputs, log, self.made, 0, self.wall_ms + 1, self._config())

    def _outcomes(self) -> list[Record]:
        found = [
            (record.topic, record.partition, record.offset, record.ingested_ms, text(record))
            for (topic, _), records in self.log.items()
            if topic == topics.OUTCOMES
            for record in records
        ]
        return sorted(found, key=lambda record: (record[3], record[1], record[2]))

    def put(self, topic: str, key: bytes, value: bytes, partition: int | None = None) -> None:
        place = zlib.crc32(key) % PARTITIONS if partition is None else partition
        mine = self.log[topic, place]
        mine.append(Recorded(topic, place, len(mine), self.wall_ms, key.decode(), value))

    def beat(self, at_ms: int, name: str) -> None:
        for partition, (key, value) in events.beats(at_ms, name, PARTITIONS):
            self.put(topics.EVENTS, key, value, partition)

    def tick(self) -> None:
        for name in NAMES:
            self._hear(self._decider.on_tick(name, self.stores[name], self.wall_ms))

    def run(self, most: int = 10**9) -> None:
        """Read until all is read, or so many inputs."""
        while most > 0 and (left := [p for p in PLACES if self.read[p] < len(self.log[p])]):
            place = self.draw.choice(left)
            start = self.read[place]
            taken = self.log[place][start : start + self.draw.choice([20, 100, 500])]
            self.read[place] += len(taken)
            most -= len(taken)
            by_shard: defaultdict[str, list[str]] = defaultdict(list)
            for record in taken:
                head = map(str, record[:4])
                by_shard[shard_of(record.user_id, SHARDS)].append(
                    SEPARATOR.join((*head, text(record)))
                )
            for name, records in by_shard.items():
                self._hear(self._decider.on_batch(name, self.stores[name], records))
            self.wall_ms += 1 + len(taken) // 2
            self.tick()
            if self.draw.random() < 0.3:
                self._lend()
            if self.draw.random() < 0.03:
                kept = {name: MemoryStore(store) for name, store in self.stores.items()}
                self.saved = kept, Counter(self.read), dict(self.ledgers)

    def crash(self) -> None:
        self.wall_ms += self.draw.choice([9_000, 35_000])
        self.stores = defaultdict(MemoryStore)
        for name, store in self.saved[0].items():
            self.stores[name] = MemoryStore(store)
        self.read = Counter(self.saved[1])
        self.ledgers = dict(self.saved[2])
        self._start(first=False)

    def settle(self) -> None:
        """All has been read: half a minute passes."""
        self.run()
        for _ in range(150):
            self.wall_ms += 200
            self.tick()
            self._lend()
        self.marks.append({place: len(self.log[place]) for place in PLACES})

    def _lend(self) -> None:
        """The keeper answers, and what it lends is heard."""
        for campaign, asked in self.asks.items():
            known = self.ledgers.get(campaign)
            self.ledgers[campaign], published = self._granter.on_asks(campaign, known, asked)
            for output in published:
                self.lent.append((output.key, output.value))
        for offset, record in enumerate(self.lent[self._heard :], len(RULES) + self._heard):
            self._decider.on_control(*record, offset=offset)
        self._heard = len(self.lent)
        self.asks.clear()

    def _hear(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            topic, key, raw = output
            if topic == topics.DECISIONS:
                self.published.append(msgspec.json.decode(raw, type=Decision))
                self.made.append(Made(self.wall_ms, self.published[-1]))
            elif topic == topics.AUDIT and b'"rows"' in raw:
                told = msgspec.json.decode(raw, type=Outcomes)
                self.steps.append(Step(self.wall_ms, told))
                self.ended.update((told.topics[row[0]], *row[1:3]) for row in told.rows)
            elif topic == names.ASKS:
                self.asks[key].append(raw.decode("latin-1"))


def text(record: Recorded) -> str:
    return record.payload.decode("latin-1")


def answers(published: Iterable[Decision], at_ms: int) -> list[tuple[bytes, bytes]]:
    """What senders and customers say of these decisions: more trouble than any day has."""
    found = []
    for made in {each.decision_id: each for each in published}.values():
        luck = int(made.decision_id[-4:], 16)
        said = {"outcome_id": f"o-{made.decision_id}", "user_id": made.user_id, "ts": at_ms}
        if made.status == "send" and luck % 4 == 0:
            said |= {"kind": "bounced", "decision_id": made.decision_id, "channel": made.channel}
        elif luck % 10 == 1:
            said |= {"kind": "unsubscribed", "channel": made.channel}
        elif luck % 20 == 2:
            said |= {"kind": "complained"}
        else:
            continue
        found.append((made.user_id.encode(), encode(said)))
    return found


@pytest.mark.parametrize(("seed", "served"), [(2, 0), (4, 0), (6, 1), (8, 2)])
def test_a_day_with_crashes_is_decided_as_the_log_alone_says(
    seed: int, served: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many customers are served at a time when something is due for all of them."""
    monkeypatch.setattr(batch, "served_by_a_batch", lambda _inputs: served)
    stream = Stream(seed, served)
    answered: set[str] = set()
    for number, part in enumerate(events.parts(seed, EVENTS)):
        if number:
            stream.beat(part.ends_ms - events.SPAN_MS // events.PARTS, f"begin-{number}")
            stream.run()
        for key, value in part.messages:
            stream.put(topics.EVENTS, key, value)
        stream.beat(part.ends_ms, f"end-{number}")
        stream.run(round(len(part.messages) * stream.draw.uniform(0.1, 0.6)))
        stream.crash()
        stream.settle()
        if number < events.PARTS - 1:
            fresh = [each for each in stream.published if each.decision_id not in answered]
            answered.update(each.decision_id for each in fresh)
            for key, value in answers(fresh, part.ends_ms - rules.POLICY.lateness_ms + 1):
                stream.put(topics.OUTCOMES, key, value)
            stream.settle()

    inputs = side_by_side(stream.log, stream.marks)
    judge = Judge(rules.campaigns(EVENTS))
    for part in inputs:
        for record in part:
            (judge.event if record.topic == topics.EVENTS else judge.answer)(record.payload)
    for decision in stream.published:
        judge.decision(encode(decision))
    judge.verdict()
    assert judge.violations == dict.fromkeys(KINDS, 0), judge.examples
    assert judge.sends > 50
    again = list(replay(inputs, RULES, stream.published))
    assert differences(stream.published, again) == []
    assert digest(again, RULES) == digest(stream.published, RULES)
    by_steps = stream.again()
    assert by_steps.lost == 0
    assert (by_steps.differing, by_steps.missing, by_steps.added) == ({}, [], [])
    assert by_steps.digest_equal
    everything = {record[:3] for records in stream.log.values() for record in records}
    assert stream.ended == everything
