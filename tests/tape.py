"""A market played by the engine's core, and a record of it as Kafka would have one."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from jobs.audit.attempts import Input
from jobs.audit.pins import Entry
from jobs.audit.recorded import head_of
from jobs.audit.rerun import Made
from jobs.market.loop import Engine
from jobs.market.loop import Input as MarketInput
from operators.shard import SEPARATOR, MemoryStore, shard_of
from schemas.control import ControlRecord, control_key
from schemas.decision import Decision
from schemas.learning import Example
from schemas.topics import DECISIONS, EVENTS, EXAMPLES
from schemas.wire import encode

HOUR = 3_600_000
AT = 1_772_409_600_000
"""When a tape begins."""


class Tape(Engine):
    """The engine, and a record of all that Kafka would have of it.

    Kafka's time of a control record is up to two seconds off the moment at which it was heard.
    """

    def __init__(self, control: Sequence[ControlRecord]) -> None:
        super().__init__(control)
        self.stores: dict[str, MemoryStore] = defaultdict(MemoryStore)
        self.inputs: list[Input] = []
        self.made: list[Made] = []
        self.log: list[Entry] = [
            Entry(AT - HOUR, control_key(each), encode(each)) for each in control
        ]
        self.changes: list[tuple[int, ControlRecord]] = []
        self._draw = random.Random(6)
        self._now_ms = AT
        heard = self.decider.on_control

        def on_control(key: str, value: bytes | None, **rest: Any) -> list[str]:
            skew = self._draw.randrange(-2_000, 2_000)
            self.log.append(Entry(self._now_ms + skew, key, value))
            return heard(key, value, **rest)

        self.decider.on_control = on_control  # type: ignore[method-assign]

    def __call__(self, inputs: Sequence[MarketInput]) -> list[Decision]:
        """One by one: what the stream gathers in a few milliseconds, a market does in a second."""
        made: list[Decision] = []
        for each in inputs:
            self._note(each)
            while self.changes and self.changes[0][0] <= each.due_ms:
                record = self.changes.pop(0)[1]
                self.decider.on_control(control_key(record), encode(record))
            made += self._decide(each)
        return made

    def _decide(self, each: MarketInput) -> list[Decision]:
        head = head_of(each.payload)
        shard = "-" if head is None else shard_of(head.user_id, 4)
        place = ("0", str(len(self.inputs)), str(self._now_ms))
        record = SEPARATOR.join((each.topic, *place, each.payload.decode("latin-1")))
        made: list[Decision] = []
        channels: dict[str, tuple[str, ...]] = {}
        outputs = self.decider.on_batch(shard, self.stores[shard], [record])
        for output in outputs:
            topic, _, value = output
            if topic == DECISIONS:
                made.append(msgspec.json.decode(value, type=Decision))
            elif topic == EXAMPLES:
                example = msgspec.json.decode(value, type=Example)
                channels[example.decision_id] = example.channels
        self._learn(outputs)
        self.made += (
            Made(self._now_ms + 5, decision, channels.get(decision.decision_id, ()))
            for decision in made
        )
        return made

    def _note(self, each: MarketInput) -> None:
        self._now_ms = max(self._now_ms + 1, each.due_ms)
        head = head_of(each.payload)
        if head is not None:
            event = head.event_id if each.topic == EVENTS else ""
            place = (0, len(self.inputs))
            self.inputs.append(
                Input(self._now_ms, each.topic, *place, head.user_id, event, each.payload)
            )
