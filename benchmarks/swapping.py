"""Models swapped every ten seconds under load: ``python -m benchmarks.swapping``.

Real broker, real Flink, open loop. Legs with swaps and legs without are interleaved in one run over
one state. Each swap is what a roll-out announces for all: a new champion, and the former held
beside it. The last line is JSON: decisions that did not come (``swap_missing``), decisions whose
score is not that of the one announced version they name, or that name an older one than the
decision before them (``swap_mixed``), p99 with swaps over p99 without (``swap_p99_ratio``), and how
long it took at most from the broker's word to the first decision by a version (``swap_lag_ms``).
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from confluent_kafka import Message
from msgspec.structs import replace
from rich.console import Console

from benchmarks.contenders.engine import Engine
from benchmarks.control import control as shipped
from benchmarks.latency import Load, Measured, Plan, Session
from benchmarks.run import MEMORY_MB
from benchmarks.servers import free_settings
from jobs.kafka import producer, read_to_end
from jobs.settings import Settings
from jobs.stack.local import LocalStack
from schemas.control import Campaign, EventTrigger, Policy, control_key
from schemas.decision import Decision
from schemas.learning import Example
from schemas.model import CANARY, Model
from schemas.outcome import CHANNELS
from schemas.topics import CONTROL, DECISIONS, EXAMPLES
from schemas.wire import decode_control, encode
from scoring.features import FEATURE_HASH, FEATURES
from scoring.model import LogisticModel
from scoring.onnx_export import lift, model_record

RATE: Final = 3_000
CUSTOMERS: Final = 20_000
EVERY_S: Final = 10
SECONDS: Final = 40
WARM_UP_S: Final = 5
FIRST_S: Final = 20
"""Of load before the legs, for Java's compiler."""
MOST_RATIO: Final = 1.2
MOST_P50_MS: Final = 200.0
"""Above that the stream does not keep up even without swaps: the machine is busy, the run void."""
_SETTLED_MS: Final = 600_000

_decision: Final = msgspec.json.Decoder(Decision).decode
_example: Final = msgspec.json.Decoder(Example).decode


@dataclass
class Announced:
    """The versions of a run in their order, when the broker had each, and what they score."""

    models: list[LogisticModel] = field(default_factory=list)
    at_ms: list[int] = field(default_factory=list)

    def add(self, record: Model, at_ms: int) -> None:
        """Note a version that the broker has acknowledged."""
        weights, bias = lift(base64.b64decode(record.onnx), record.version)
        self.models.append(LogisticModel(record.version, FEATURE_HASH, weights, bias))
        self.at_ms.append(at_ms)

    @property
    def places(self) -> dict[str, int]:
        """Version → its place in the order."""
        return {model.version: place for place, model in enumerate(self.models)}


class Swapper:
    """Announces a model every `EVERY_S` seconds, from a thread of its own, while a leg is run."""

    def __init__(self, settings: Settings, announced: Announced, first: Model) -> None:
        self._settings = settings
        self._announced = announced
        self._latest = first
        self._rng = np.random.default_rng(5)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Swapper:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.swap()

    def swap(self) -> None:
        """Announce a model that has never been seen, and hold the one before beside it."""
        number, now_ms = len(self._announced.models), time.time_ns() // 1_000_000
        weights = self._rng.normal(0, 0.15, len(FEATURES)).tolist()
        fresh = model_record(weights, -2.7, f"swap-{number:03d}", updated_ms=now_ms)
        former = replace(self._latest, id=CANARY, share=0.0, updated_ms=now_ms)
        client = producer(self._settings)
        for record in (fresh, former):
            client.produce(CONTROL, encode(record), control_key(record))
        if client.flush(10):
            raise RuntimeError("the broker did not take a model")
        self._announced.add(fresh, time.time_ns() // 1_000_000)
        self._latest = fresh


def control() -> list[tuple[str, bytes]]:
    """Campaigns of which one alone listens to each action: no model can change who speaks."""
    [policy] = [
        record
        for _, value in shipped()
        if isinstance(record := decode_control(value), Policy)
    ]  # fmt: skip
    free = replace(policy, caps=(), quiet_hours=None)
    campaigns = [
        Campaign(id=f"on-{action}", version=1, name=f"On {action}", cooldown_ms=0,
                 trigger=EventTrigger((action,)), channels=CHANNELS)
        for action in ("search", "cart", "favourite")
    ]  # fmt: skip
    records = [free, *campaigns]
    models = [pair for pair in shipped() if pair[0].startswith("model/")]
    return [*((control_key(each), encode(each)) for each in records), *models]


def measure(rounds: int, seconds: int, console: Console) -> dict[str, Any]:
    """Run plain, swapped, swapped, plain in each round; judge every decision of all legs."""
    folder = Path(tempfile.mkdtemp(prefix="beckon-swap-"))
    settings = free_settings(folder, task_manager_memory_mb=MEMORY_MB)
    stack = LocalStack(settings)
    records = control()
    loads = [Load(RATE, FIRST_S, FIRST_S - 1)]
    loads += [Load(RATE, seconds + WARM_UP_S, WARM_UP_S)] * (4 * rounds)
    now_ms = time.time_ns() // 1_000_000
    plan = Plan.make(loads, CUSTOMERS, records, now_ms - _SETTLED_MS, seed=2_000)
    [first] = [model for _, value in records if isinstance(model := decode_control(value), Model)]
    announced = Announced()
    announced.add(first, 0)
    found: dict[bool, list[Measured]] = {False: [], True: []}
    try:
        stack.up(["kafka", "flink"])
        with Session(settings, Engine(settings, stack), plan) as session:
            swapper = Swapper(settings, announced, first)
            first_leg, *legs = plan.legs
            warm = session.measure(first_leg)
            for number, leg in enumerate(legs):
                swaps = number % 4 in (1, 2)
                if swaps:
                    with swapper:
                        run = session.measure(leg)
                else:
                    run = session.measure(leg)
                found[swaps].append(run)
                values = run.answers.latencies.figures()
                console.print(
                    f"{'swaps' if swaps else 'plain'}: p50 {values['p50_ms']:.1f} ms, p99 "
                    f"{values['p99_ms']:.1f} ms, {values['answers']:,} decisions "
                    f"{'; '.join(run.void)}"
                )
            decided = list(read_to_end(settings, [DECISIONS]))
            examples = list(read_to_end(settings, [EXAMPLES]))
    finally:
        stack.wipe()
        shutil.rmtree(folder, ignore_errors=True)
    runs = [warm, *found[False], *found[True]]
    p50_ms = max(run.answers.latencies.percentile_ms(50) for run in found[False])
    void = {why for run in runs for why in run.void}
    if not p50_ms < MOST_P50_MS:
        void.add(f"p50 without swaps was {p50_ms:.0f} ms: the machine is busy")
    bad, lag_ms = judge(announced, decided, examples)
    return {
        "swap_missing": sum(run.answers.latencies.missing for run in runs),
        "swap_mixed": bad,
        "swap_lag_ms": lag_ms,
        "swap_p99_ratio": ratio(found[True], found[False]),
        "swaps": len(announced.models) - 1,
        "swap_decisions": len(decided),
        "swap_p99_ms": [round(run.answers.latencies.percentile_ms(99), 2) for run in found[True]],
        "plain_p99_ms": [round(run.answers.latencies.percentile_ms(99), 2) for run in found[False]],
        "swap_void": sorted(void),
    }


def judge(
    announced: Announced, decided: Iterable[Message], examples: Iterable[Message]
) -> tuple[int, int]:
    """Decisions that are not of one announced version in its turn; the longest wait for a version.

    A partition must never go back to an older version: there is one operator, so what it publishes
    is in the order of its swaps.
    """
    places, bad = announced.places, set()
    newest: dict[int, int] = {}
    first_ms: dict[int, int] = {}
    scored: dict[str, tuple[str, float]] = {}
    for message in decided:
        made = _decision(message.value() or b"")
        place = places.get(made.model_version)
        came_ms, partition = message.timestamp()[1], message.partition() or 0
        scored[made.decision_id] = made.model_version, made.score
        if place is None or place < newest.get(partition, 0):
            bad.add(made.decision_id)
            continue
        newest[partition] = place
        first_ms[place] = min(came_ms, first_ms.get(place, came_ms))
    seen = set()
    for message in examples:
        row = _example(message.value() or b"")
        seen.add(row.decision_id)
        place = places.get(row.model_version)
        scores = [(place, row.score)]
        if row.shadow_version:
            scores.append((places.get(row.shadow_version), row.shadow_score))
        if scored.get(row.decision_id) != (row.model_version, row.score) or not all(
            by is not None and announced.models[by].score(row.features) == score
            for by, score in scores
        ):
            bad.add(row.decision_id)
    lag_ms = max(
        (at - announced.at_ms[place] for place, at in first_ms.items() if place), default=0
    )
    return len(bad | (scored.keys() - seen)), lag_ms


def ratio(swapped: Sequence[Measured], plain: Sequence[Measured]) -> float:
    """The geometric mean of the legs' p99 with swaps over that of those without."""
    means = [
        sum(math.log(run.answers.latencies.percentile_ms(99)) for run in runs) / len(runs)
        for runs in (swapped, plain)
    ]
    return round(math.exp(means[0] - means[1]), 3)


def kept(line: dict[str, Any]) -> bool:
    """Whether what was promised of swaps holds."""
    return line["swap_missing"] == line["swap_mixed"] == 0 and line["swap_p99_ratio"] <= MOST_RATIO


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--seconds", type=int, default=SECONDS, help="of a leg, besides its warm-up"
    )
    asked = parser.parse_args()
    line = measure(asked.rounds, asked.seconds, Console(stderr=True))
    print(json.dumps(line))
    return 0 if kept(line) else 1


if __name__ == "__main__":
    raise SystemExit(main())
