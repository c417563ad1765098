"""A market played by the engine's core, and a record of it as Kafka would have one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from jobs.audit.recorded import Entry, Input, Made, Step, head_of
from jobs.audit.rerun import Rerun, rerun
from jobs.market.loop import Engine
from jobs.market.loop import Input as MarketInput
from operators.records import Output
from operators.shard import SEPARATOR, DeciderConfig, MemoryStore, shard_of
from schemas.audit import Outcomes
from schemas.control import ControlRecord, control_key
from schemas.decision import Decision
from schemas.topics import AUDIT, DECISIONS
from schemas.wire import encode

HOUR = 3_600_000
AT = 1_772_409_600_000
"""When a tape begins."""


class Tape(Engine):
    """The engine, and a record of all that Kafka would have of it."""

    def __init__(self, control: Sequence[ControlRecord]) -> None:
        super().__init__(control)
        self.stores: dict[str, MemoryStore] = defaultdict(MemoryStore)
        self.inputs: list[Input] = []
        self.made: list[Made] = []
        self.steps: list[Step] = []
        self.log: list[Entry] = [
            Entry(offset, AT - HOUR, control_key(each), encode(each))
            for offset, each in enumerate(control)
        ]
        self.decider.heard = len(self.log) - 1
        self.changes: list[tuple[int, ControlRecord]] = []
        self._now_ms = AT
        hear = self.decider.on_control

        def on_control(key: str, value: bytes | None, **_rest: Any) -> list[Output]:
            offset = len(self.log)
            self.log.append(Entry(offset, self._now_ms, key, value))
            return hear(key, value, offset=offset)

        self.decider.on_control = on_control  # type: ignore[method-assign]

    def __call__(self, inputs: Sequence[MarketInput]) -> list[Decision]:
        """One by one: what the stream gathers in a few milliseconds, a market does in a second."""
        made: list[Decision] = []
        for each in inputs:
            self.note(each)
            while self.changes and self.changes[0][0] <= each.due_ms:
                record = self.changes.pop(0)[1]
                self.decider.on_control(control_key(record), encode(record))
            made += self.take(self.inputs[-1:])
        return made

    def take(self, inputs: Sequence[Input]) -> list[Decision]:
        """Let the core have what was noted, in one batch; all of it of one shard."""
        shard = shard_of(inputs[0].user_id, 4) if inputs[0].user_id else "-"
        records = [
            SEPARATOR.join((each.topic, "0", str(each.offset), str(each.came_ms), text))
            for each in inputs
            for text in [each.payload.decode("latin-1")]
        ]
        outputs = self.decider.on_batch(shard, self.stores[shard], records)
        return self.publish(outputs)

    def tick(self, shard: str, now_ms: int) -> list[Decision]:
        """Let a shard's clock tick."""
        return self.publish(self.decider.on_tick(shard, self.stores[shard], now_ms))

    def publish(self, outputs: list[Output]) -> list[Decision]:
        """Record what a step led to, and learn from it."""
        made: list[Decision] = []
        for output in outputs:
            topic, _, value = output
            if topic == DECISIONS:
                made.append(msgspec.json.decode(value, type=Decision))
            elif topic == AUDIT and b'"kind":"outcomes"' in value:
                told = msgspec.json.decode(value, type=Outcomes)
                self.steps.append(Step(self._now_ms, told))
        self._learn(outputs)
        self.made += (Made(self._now_ms + 5, decision) for decision in made)
        return made

    def again(
        self,
        from_ms: int = AT,
        to_ms: int = AT + 3 * HOUR,
        *,
        steps: Iterable[Step] | None = None,
        log: Sequence[Entry] | None = None,
        made: Iterable[Made] | None = None,
    ) -> Rerun:
        """Decide the record again, or another in its place."""
        return rerun(
            self.steps if steps is None else steps,
            self.inputs,
            self.log if log is None else log,
            self.made if made is None else made,
            from_ms,
            to_ms,
            DeciderConfig(lends=True),
        )

    def note(self, each: MarketInput) -> None:
        """Record an input as the broker would."""
        self._now_ms = max(self._now_ms + 1, each.due_ms)
        head = head_of(each.payload)
        user_id = "" if head is None else head.user_id
        place = (0, len(self.inputs))
        self.inputs.append(Input(self._now_ms, each.topic, *place, user_id, each.payload))
