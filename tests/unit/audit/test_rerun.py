"""A market is played once, with learning and control changes, and decided again from its record."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from jobs.audit.pins import ControlLog, Entry
from jobs.audit.recorded import head_of
from jobs.audit.rerun import Input, Made, digest, rerun
from jobs.market.loop import Engine
from jobs.market.loop import Input as MarketInput
from jobs.market.loop import run as play
from jobs.market.market import Market
from operators.shard import SEPARATOR, MemoryStore, shard_of
from schemas.control import ControlRecord, control_key
from schemas.decision import Decision
from schemas.learning import Example
from schemas.topics import DECISIONS, EVENTS, EXAMPLES
from schemas.wire import encode
from scoring.features import FEATURES
from scoring.onnx_export import model_record
from tests.builders import abandonment, on_cart, policy, viewed_again

HOUR = 3_600_000
AT = 1_772_409_600_000
SOON: dict[str, Any] = {"attribution_window_ms": 15 * 60_000}


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
            topic, _, value = output.split(SEPARATOR, 2)
            if topic == DECISIONS:
                made.append(msgspec.json.decode(value.encode("latin-1"), type=Decision))
            elif topic == EXAMPLES:
                example = msgspec.json.decode(value.encode("latin-1"), type=Example)
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


@pytest.fixture(scope="module")
def tape() -> Tape:
    draw = random.Random(2)
    model = model_record([draw.uniform(-0.3, 0.3) for _ in FEATURES], -2.5, "ctr-1", updated_ms=5)
    found = Tape(
        [policy(holdout_ratio=0.1), on_cart(**SOON), viewed_again(**SOON), abandonment(**SOON)]
    )
    found.changes = [
        (AT + HOUR // 2, model),
        (AT + HOUR, on_cart(status="paused", version=2, updated_ms=7, **SOON)),
        (AT + HOUR + HOUR // 4, on_cart(version=3, updated_ms=8, **SOON)),
    ]
    market = Market(3, 400)
    play(market, found, market.events(AT, AT + 2 * HOUR, 6_000))
    return found


def again(tape: Tape, log: Sequence[Entry] | None = None, from_ms: int = AT) -> Any:
    control = ControlLog(tape.log if log is None else log)
    return rerun(tape.inputs, control, tape.made, from_ms, AT + 3 * HOUR)


def test_what_was_decided_is_decided_again_to_the_byte(tape: Tape) -> None:
    assert len({made.decision.model_version for made in tape.made}) == 2
    assert len({made.decision.campaign_version for made in tape.made}) == 3 - 1
    assert max(made.decision.posterior_version for made in tape.made) > 20
    found = again(tape)
    assert found.decisions == len(tape.made) > 300
    assert (found.differing, found.missing, found.added) == ({}, [], [])
    assert found.equal == found.decisions
    assert found.digest_equal
    assert found.digest_recorded == digest(made.decision for made in tape.made)


def test_a_span_of_it_is_compared_alone(tape: Tape) -> None:
    found = again(tape, from_ms=AT + HOUR)
    assert 0 < found.decisions < len(tape.made)
    assert found.digest_equal


def test_a_decision_that_was_tampered_with_is_found(tape: Tape) -> None:
    victim = tape.made[50]
    forged = victim._replace(decision=replace(victim.decision, score=victim.decision.score + 1e-9))
    other = Tape([])
    other.inputs, other.log = tape.inputs, tape.log
    other.made = [forged if each is victim else each for each in tape.made]
    found = again(other)
    assert not found.digest_equal
    assert found.differing == {victim.decision.decision_id: ["score"]}


def test_another_campaign_set_gives_another_digest(tape: Tape) -> None:
    log = [entry for entry in tape.log if entry.key != "campaign/viewed-again"]
    found = again(tape, log)
    assert not found.digest_equal
    assert found.missing
