"""The challenger: a model that learns from each example as its label comes, and decides nothing.

An example waits here for its label, which is the end of its exposure: a click, or the end of its
window without one. A message that came back has none. Then the challenger predicts it, learns from
it, and what it predicted is told beside what the champion had (`schemas.audit.Shadow`).

When the first label of a new day comes, what it had learned until then is published for the night
to judge (`schemas.model.Challenger`): on what came after, of which it knew nothing.

Layout of the state: hash of the features, the learner (`scoring.online`), the champion's summed
loss, the newest time and what was learned by the end of each of the last days, as one MessagePack
array in an envelope ``BKC``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

import msgspec
from msgspec import Struct, field

from operators import names
from operators.records import SEPARATOR, Output
from schemas.audit import Shadow
from schemas.control import control_key
from schemas.learning import LABELS, Example, Reward
from schemas.model import Challenger, Golden, LearnedDay
from schemas.topics import AUDIT, CONTROL, DAY_MS
from schemas.wire import encode
from scoring.model import log_loss
from scoring.online import OnlineLogistic, Rates
from state.envelope import sealed, unsealed

VERSION: Final = 1
RATES: Final = Rates(alpha=0.1)
DAYS_KEPT: Final = 3
"""The night of a day may run when the next has begun, and judges by the rows of its own."""
GOLDEN_ROWS: Final = 8

_MAGIC: Final = b"BKC"
_read_reward: Final = msgspec.json.Decoder(Reward).decode
_read_example: Final = msgspec.json.Decoder(Example).decode
_read_shadow: Final = msgspec.json.Decoder(Shadow).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class Unlabelled(Protocol):
    """Examples whose label has not come, by decision."""

    def get(self, key: str) -> bytes | None:
        """The bytes of an example, None when there is none."""
        ...

    def put(self, key: str, value: bytes) -> None:
        """Keep an example."""
        ...

    def remove(self, key: str) -> None:
        """Forget an example that is there."""
        ...


class Losses(NamedTuple):
    """Sums over examples that were labelled: how many, and the loss of either in nats."""

    examples: int
    champion: float
    challenger: float


class _Waiting(Struct, array_like=True):
    score: float
    feature_hash: str
    features: list[float]


class _State(Struct, array_like=True):
    feature_hash: str
    learner: bytes
    champion_loss: float
    newest_ms: int
    days: list[LearnedDay] = field(default_factory=list)


_read_waiting: Final = msgspec.msgpack.Decoder(_Waiting).decode
_read_state: Final = msgspec.msgpack.Decoder(_State).decode


def on_messages(
    state: bytes | None, unlabelled: Unlabelled, messages: Iterable[str]
) -> tuple[bytes | None, list[Output]]:
    """Take examples and rewards; returns the new state, and what to tell of those labelled."""
    labelled: list[tuple[_Waiting, Reward]] = []
    for message in messages:
        kind, _, text = message.split(SEPARATOR, 2)
        raw = text.encode("latin-1")
        if kind == names.EXPOSED:
            example = _read_example(raw)
            if not example.holdout:
                waiting = _Waiting(example.score, example.feature_hash, example.features)
                unlabelled.put(example.decision_id, _encode(waiting))
            continue
        reward = _read_reward(raw)
        if reward.kind not in LABELS and reward.kind != "bounced":
            continue
        data = unlabelled.get(reward.decision_id)
        if data is None:
            continue
        unlabelled.remove(reward.decision_id)
        if reward.kind != "bounced":
            labelled.append((_read_waiting(data), reward))
    if not labelled:
        return state, []
    shadow = _Shadow(state)
    days = shadow.days
    for place, (waiting, reward) in enumerate(labelled):
        ahead = [each.features for each, _ in labelled[place : place + GOLDEN_ROWS]
                 if each.feature_hash == waiting.feature_hash]  # fmt: skip
        shadow.learn(waiting, reward, ahead)
    outputs = [Output(AUDIT, names.CHALLENGER, encode(shadow.told()))]
    if shadow.days != days and shadow.days:
        record = shadow.learned()
        outputs.append(Output(CONTROL, control_key(record), encode(record)))
    return shadow.encode(), outputs


def losses(outputs: Iterable[Output]) -> Losses:
    """What outputs of `on_messages` add to the losses, for whoever counts them."""
    told = [_read_shadow(output.value) for output in outputs if output.topic == AUDIT]
    rows = [row for each in told for row in each.rows]
    return Losses(
        len(rows),
        sum(log_loss(champion, label) for _, label, champion, _ in rows),
        sum(log_loss(challenger, label) for _, label, _, challenger in rows),
    )


class _Shadow:
    """Champion and challenger over the examples of one set of features; others start anew."""

    def __init__(self, state: bytes | None) -> None:
        if state is None:
            self._state = _State("", b"", 0.0, 0)
            self._learner = OnlineLogistic(1, RATES)
        else:
            self._state = _read_state(unsealed(_MAGIC, VERSION, state))
            self._learner = OnlineLogistic.decode(self._state.learner)
        self._rows: list[tuple[str, int, float, float]] = []

    @property
    def days(self) -> tuple[LearnedDay, ...]:
        """What had been learned by the end of each of the last days."""
        return tuple(self._state.days)

    def learn(self, waiting: _Waiting, reward: Reward, ahead: list[list[float]]) -> None:
        """Predict an example, then learn from it; ``ahead`` are rows to prove a day's end by."""
        if self._state.feature_hash != waiting.feature_hash:
            self._state = _State(waiting.feature_hash, b"", 0.0, 0)
            self._learner = OnlineLogistic(len(waiting.features), RATES)
        state = self._state
        if 0 < state.newest_ms // DAY_MS < reward.ts // DAY_MS:
            self._end_day(ahead)
        label = int(reward.kind == "clicked")
        predicted = self._learner.learn(waiting.features, label)
        state.champion_loss += log_loss(waiting.score, label)
        state.newest_ms = max(state.newest_ms, reward.ts)
        self._rows.append((reward.decision_id, label, waiting.score, predicted))

    def _end_day(self, ahead: list[list[float]]) -> None:
        learner, state = self._learner, self._state
        weights, bias = learner.linear()
        golden = Golden(ahead, [learner.predict(row) for row in ahead])
        day = LearnedDay(state.newest_ms, learner.progress.examples, weights, bias, golden)
        state.days = [*state.days, day][-DAYS_KEPT:]

    def learned(self) -> Challenger:
        """The ends of its last days, for the night."""
        days = self.days
        return Challenger("ctr", self._state.feature_hash, days, days[-1].until_ms)

    def told(self) -> Shadow:
        """What is published of it."""
        progress = self._learner.progress
        return Shadow(
            self._rows,
            progress.examples,
            progress.positives,
            self._state.champion_loss / max(1, progress.examples),
            progress.log_loss,
            progress.base_log_loss,
            self._state.newest_ms,
        )

    def encode(self) -> bytes:
        """The bytes to go on from."""
        self._state.learner = self._learner.encode()
        return sealed(_MAGIC, VERSION, _encode(self._state))
