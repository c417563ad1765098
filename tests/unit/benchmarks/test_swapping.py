"""What the measurement of swaps calls a mixture; and that its campaigns leave models no say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from benchmarks.swapping import Announced, control, judge
from schemas.control import Campaign
from schemas.model import Model
from schemas.topics import DECISIONS, EXAMPLES
from schemas.wire import decode_control, encode
from scoring.features import FEATURES
from scoring.onnx_export import model_record
from tests.harness import Harness, consenting, event

AT_MS = 1_000


@dataclass
class Record:
    """What the probe reads of a Kafka message."""

    data: bytes
    came_ms: int
    part: int = 0

    def value(self) -> bytes:
        return self.data

    def timestamp(self) -> tuple[int, int]:
        return 1, self.came_ms

    def partition(self) -> int:
        return self.part


def model(version: str, bias: float, at_ms: int) -> Model:
    return model_record([0.0] * len(FEATURES), bias, version, updated_ms=at_ms)


@pytest.fixture
def run() -> tuple[Announced, list[dict[str, Any]], list[dict[str, Any]]]:
    """Two versions, each of which decided three times, as the core publishes it."""
    announced = Announced()
    stream = Harness([decode_control(value) for _, value in control()])
    for place, (version, bias) in enumerate((("a", -1.0), ("b", -2.0))):
        record = model(version, bias, AT_MS + place)
        stream.put(record)
        announced.add(record, AT_MS * place)
        for n in range(3):
            user = f"{version}{n}"
            stream.send(consenting(user_id=user), event(user_id=user, action="cart"))
    return announced, stream.outputs[DECISIONS], stream.outputs[EXAMPLES]


def records(rows: list[dict[str, Any]], part: int = 0) -> list[Record]:
    return [Record(encode(row), AT_MS + 100 * (n + 1), part) for n, row in enumerate(rows)]


def test_what_one_version_after_the_other_decided_is_no_mixture(run: Any) -> None:
    announced, decided, examples = run
    assert len(decided) == 6
    assert judge(announced, records(decided), records(examples)) == (0, 400)


def test_each_kind_of_mixture_is_counted_once(run: Any) -> None:
    announced, decided, examples = run
    whole = records(decided), records(examples)
    back = [*decided[3:], *decided[:3]]
    assert judge(announced, records(back), whole[1])[0] == 3, "went back to an older version"
    other_score = [{**examples[0], "score": 0.5}, *examples[1:]]
    assert judge(announced, whole[0], records(other_score))[0] == 1
    both = [{**decided[0], "score": 0.5}, *decided[1:]], other_score
    assert judge(announced, *map(records, both))[0] == 1, "no score of the version named"
    unknown = [{**decided[0], "model_version": "c"}, *decided[1:]]
    assert judge(announced, records(unknown), whole[1])[0] == 1
    assert judge(announced, whole[0], records(examples[1:]))[0] == 1, "no example of a decision"
    shadowed = [{**examples[0], "shadow_version": "b", "shadow_score": 0.5}, *examples[1:]]
    assert judge(announced, whole[0], records(shadowed))[0] == 1


def test_partitions_are_each_in_their_own_order(run: Any) -> None:
    announced, decided, examples = run
    spread = [*records(decided[3:], 0), *records(decided[:3], 1)]
    assert judge(announced, spread, records(examples))[0] == 0


def test_no_two_campaigns_of_the_measurement_hear_one_action() -> None:
    heard = [
        action
        for _, value in control()
        if isinstance(record := decode_control(value), Campaign)
        for action in record.trigger.actions
    ]
    assert len(heard) == len(set(heard)) == 3
