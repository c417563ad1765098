"""Send the night's tags to the events and its records to the control topic.

Sending twice does no harm: an event's id is the night's, and a control record that is no newer than
the one in force is ignored. What a step said in the night before and does not say now is withdrawn;
what a step had said that was stopped, or has not run, stays in force.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaException

from jobs.kafka import producer, watermarks
from jobs.nightly.base import Fact, StepReport, StepStopped
from jobs.nightly.context import Context
from jobs.nightly.people import WITHDRAWALS
from jobs.nightly.runner import write
from jobs.nightly.tags import EVENTS as FILE
from schemas import topics
from schemas.control import control_key
from schemas.errors import UserMistake
from schemas.wire import decode_control

CONTROL: Final = "control.jsonl"
"""Control records that a step wants in force, one a line."""
KEYS: Final = "keys.json"
"""Of each step, the keys of its control records that are in force."""
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
    controls = {name: context.file(context.work_dir / name / CONTROL) for name in STEPS}
    keys = {name: _keys(path) for name, path in controls.items() if path.exists()}
    was = context.before(context.step, KEYS)
    before = {} if was is None else msgspec.json.decode(was.read_bytes(), type=dict[str, list[str]])
    standing = {key for name in {*before, *keys} for key in keys.get(name, before.get(name, ()))}
    withdrawn = sorted({key for name in keys for key in before.get(name, ())} - standing)
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

    tombstones = ((topics.CONTROL, key, None) for key in withdrawn)
    for topic, key, payload in chain(_records(controls.values(), events), tombstones):
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
    write(context.output(KEYS), {**before, **keys})
    return StepReport(
        "Published",
        facts=(
            Fact("tags and withdrawals", sent[topics.EVENTS], topics.EVENTS),
            Fact("control records", sent[topics.CONTROL] - len(withdrawn), topics.CONTROL),
            Fact("withdrawn", len(withdrawn), "said in the night before, and not in this one"),
        ),
    )


def _keys(path: Path) -> list[str]:
    return sorted(control_key(decode_control(line)) for line in path.read_bytes().splitlines())


def _records(
    controls: Iterable[Path], events: Iterable[Path]
) -> Iterator[tuple[str, str, bytes | None]]:
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
