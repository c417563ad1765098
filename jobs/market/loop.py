"""A market and a decider in one process, on event time, without a broker.

    market.events ─▶ decide ─▶ decisions ─▶ market.respond ─▶ outcomes, when they are due ─▶ decide

For the learning tests, and to make the history that the first model is trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from jobs.market.market import Emission, Market
from jobs.market.sender import Sender
from jobs.market.tally import Tally
from operators.learning import Learner, heard
from operators.records import Output
from operators.shard import SEPARATOR, Decider, DeciderConfig, MemoryStore
from schemas.control import ControlRecord, control_key
from schemas.decision import Decision
from schemas.learning import Example, Reward
from schemas.topics import CONTROL, DECISIONS, EVENTS, EXAMPLES, REWARDS
from schemas.wire import encode

SLICE_MS: Final = 1_000

_read_decision: Final = msgspec.json.Decoder(Decision).decode
_read_example: Final = msgspec.json.Decoder(Example).decode
_read_reward: Final = msgspec.json.Decoder(Reward).decode


class Input(NamedTuple):
    """A record as it reaches the decider, at its moment of event time."""

    due_ms: int
    topic: str
    key: str
    payload: bytes


Decide = Callable[[Sequence[Input]], Iterable[Decision]]
"""Takes a slice of inputs in order of time; returns the decisions they led to."""


def run(market: Market, decide: Decide, emissions: Iterable[Emission]) -> Tally:
    """Take a market's events through ``decide`` and answer its decisions.

    Inputs are handed over by the second of event time. A conversion also comes back as a
    purchase event. Answers due after the last event are left out, as at the end of any run.
    """
    sender = Sender(market)
    for now_ms, batch in _slices(emissions):
        batch += [Input(*answer[:4]) for answer in sender.due(now_ms)]
        batch.sort(key=attrgetter("due_ms"))
        for decision in decide(batch):
            sender.take(decision, now_ms)
    return sender.tally


def _slices(emissions: Iterable[Emission]) -> Iterator[tuple[int, list[Input]]]:
    """Emissions by `SLICE_MS` of their due time, each slice with the time at which it ends."""
    batch: list[Input] = []
    until = None
    for emission in emissions:
        if until is None:
            until = emission.due_ms + SLICE_MS
        while emission.due_ms >= until:
            yield until, batch
            batch = []
            until += SLICE_MS
        batch.append(Input(emission.due_ms, EVENTS, emission.key.decode(), emission.payload))
    if until is not None:
        yield until, batch


class Engine:
    """The engine's own core as a `Decide`: decider and learner, joined without Flink.

    ``control`` is put in force first; posteriors are from then on what the learner publishes.
    With ``keep_examples``, ``kept`` holds the examples and rewards that a model is trained on.
    ``learned`` is the learner's state by campaign.
    """

    def __init__(self, control: Iterable[ControlRecord], *, keep_examples: bool = False) -> None:
        self.decider = Decider(
            DeciderConfig(lends=True), [(control_key(record), encode(record)) for record in control]
        )
        policy = self.decider.world.policy
        self.learner = Learner((policy.prior_alpha, policy.prior_beta))
        self._store = MemoryStore()
        self.learned: dict[str, bytes] = {}
        self._offset = 0
        self._keep = keep_examples
        self.kept: list[Example | Reward] = []
        self._learn(self.decider.rules())

    def __call__(self, inputs: Sequence[Input]) -> list[Decision]:
        """Decide, and learn from the rewards that came of it before the next slice."""
        records = []
        for due_ms, topic, _, payload in inputs:
            text = payload.decode("latin-1")
            records.append(SEPARATOR.join((topic, "0", str(self._offset), str(due_ms), text)))
            self._offset += 1
        decisions: list[Decision] = []
        outputs = self.decider.on_batch("0", self._store, records)
        for output in outputs:
            topic, _, value = output
            if topic == DECISIONS:
                decisions.append(_read_decision(value))
            elif topic == REWARDS and self._keep:
                self.kept.append(_read_reward(value))
            elif topic == EXAMPLES and self._keep:
                self.kept.append(_read_example(value))
        self._learn(outputs)
        return decisions

    def _learn(self, outputs: Iterable[Output]) -> None:
        for campaign, messages in heard(outputs).items():
            before = self.learned.get(campaign)
            state, published = self.learner.on_messages(campaign, before, messages)
            self.learned[campaign] = state
            for output in published:
                topic, key, value = output
                if topic == CONTROL:
                    self.decider.on_control(key, value or None)
