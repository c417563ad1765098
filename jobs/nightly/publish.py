"""Send the night's tags to the events and its records to the control topic.

Sending twice does no harm: an event's id is the night's, and a control record that is no newer than
the one in force is ignored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaException

from jobs.kafka import producer, watermarks
from jobs.nightly.base import Fact, StepReport, StepStopped
from jobs.nightly.context import Context
from jobs.nightly.people import WITHDRAWALS
from jobs.nightly.tags import EVENTS as FILE
from schemas import topics
from schemas.control import control_key
from schemas.errors import UserMistake
from schemas.wire import decode_control

CONTROL: Final = "control.jsonl"
"""Control records that a step wants in force, one a line."""
_PATIENCE_S: Final = 60.0
_FLUSHED: Final = 2_000


def run(context: Context) -> StepReport:
    """Publish, and wait until the broker has all of it.

    Raises:
        StepStopped: no broker answers, or it did not take everything.
    """
    from jobs.nightly import STEPS

    events = [
        context.result("tags", FILE),
        context.file(context.work_dir / "people" / WITHDRAWALS),
    ]
    controls = [context.file(context.work_dir / name / CONTROL) for name in STEPS]
    try:
        watermarks(context.settings, [topics.EVENTS, topics.CONTROL])
    except (UserMistake, KafkaException) as error:
        raise StepStopped(
            f"nothing was published, no broker answers at {context.settings.bootstrap} ({error}); "
            "`beckon nightly publish` when it is back"
        ) from error
    refused: list[str] = []
    sent = {topics.CONTROL: 0, topics.EVENTS: 0}
    kafka = producer(context.settings)

    def note(error: Any, _: Any) -> None:
        if error is not None:
            refused.append(str(error))

    for topic, key, payload in _records(controls, events):
        kafka.produce(topic, payload, key, on_delivery=note)
        sent[topic] += 1
        if sum(sent.values()) % _FLUSHED == 0:
            kafka.flush(_PATIENCE_S)  # the queue stays short, whatever the number of customers
    end_s = time.monotonic() + _PATIENCE_S
    left = kafka.flush(max(0.0, end_s - time.monotonic()))
    if left or refused:
        raise StepStopped(
            f"the broker did not take {left + len(refused)} of {sum(sent.values())} records "
            f"({refused[0] if refused else 'no answer'}); `beckon nightly publish` sends them again"
        )
    return StepReport(
        "Published",
        facts=(
            Fact("tags and withdrawals", sent[topics.EVENTS], topics.EVENTS),
            Fact("control records", sent[topics.CONTROL], topics.CONTROL),
        ),
    )


def _records(controls: list[Any], events: list[Any]) -> Iterator[tuple[str, str, bytes]]:
    for path in controls:
        if not path.exists():
            continue
        for line in path.read_bytes().splitlines():
            yield topics.CONTROL, control_key(decode_control(line)), line
    for path in events:
        if not path.exists():
            continue
        with path.open("rb") as file:
            for line in file:
                payload = line.rstrip(b"\n")
                yield topics.EVENTS, msgspec.json.decode(payload)["user_id"], payload
