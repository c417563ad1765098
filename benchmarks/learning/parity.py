"""Scores of the stream's core against the model's own graph, run apart: `jobs.archive.parity`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from jobs.archive.parity import CHECKED, Parity
from jobs.archive.tables import EXAMPLES
from jobs.market.loop import Engine, Input, run
from jobs.market.market import Market
from schemas.control import Campaign, EventTrigger, Policy, control_key
from schemas.decision import Decision
from schemas.learning import Example
from schemas.wire import encode
from scoring.features import FEATURES
from scoring.onnx_export import model_record

BEGINS_MS: Final = 1_772_409_600_000
MODELS: Final = 4
_SPEAKS: Final = tuple(
    Campaign(
        f"on-{action}",
        1,
        f"On {action}",
        EventTrigger((action,)),
        ("sms", "push", "email"),
        cooldown_ms=0,
        attribution_window_ms=900_000,
    )
    for action in ("view", "cart", "search")
)


def scored(least: int) -> Counter[str]:
    """Play a market until there are so many examples, under models that change; compare them all.

    Examples go the way of the archive: encoded as they leave the stream, read as its rows.
    """
    parity, engine = Parity(), Engine([*_SPEAKS, Policy(caps=())], keep_examples=True)
    draw = random.Random(9)
    records = [
        model_record([draw.uniform(-0.4, 0.4) for _ in FEATURES], -2.5, f"ctr-{number}",
                     updated_ms=number + 1)
        for number in range(MODELS)
    ]  # fmt: skip
    found: Counter[str] = Counter()
    waiting = list(records)
    market = Market(9, max(200, least // 20))

    def decide(inputs: Sequence[Input]) -> list[Decision]:
        """Change the model each quarter of the way, and take what is there to the comparison."""
        if waiting and found[CHECKED] >= least * (MODELS - len(waiting)) / MODELS:
            record = waiting.pop(0)
            parity.learn(encode(record))
            engine.decider.on_control(control_key(record), encode(record))
        decisions = engine(inputs)
        rows = [EXAMPLES.row(encode(e), "") for e in engine.kept if isinstance(e, Example)]
        engine.kept.clear()
        found.update(parity.check(rows))
        return decisions

    events = market.events(BEGINS_MS, BEGINS_MS + least * 50, least * 5)
    run(market, decide, takewhile(lambda _: found[CHECKED] < least, events))
    return found
