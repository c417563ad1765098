"""An hour of a market that is learned from, decided again from its record."""

from __future__ import annotations

import random
from typing import NamedTuple

from jobs.market.loop import run
from jobs.market.market import Market
from scoring.features import FEATURES
from scoring.onnx_export import model_record
from tests.builders import MINUTE, abandonment, on_cart, policy, viewed_again
from tests.tape import AT, HOUR, Tape


class Found(NamedTuple):
    """What deciding again found, and whether what was learned stayed as it was."""

    replayed: int
    digest_equal: bool
    posteriors_unmoved: bool


def again(events: int, customers: int = 400) -> Found:
    """Play an hour, with customers kept back, a new model and mixes that move; decide it again."""
    draw = random.Random(2)
    window = 15 * MINUTE
    tape = Tape(
        [
            policy(holdout_ratio=0.1),
            on_cart(attribution_window_ms=window),
            viewed_again(attribution_window_ms=window),
            abandonment(attribution_window_ms=window),
        ]
    )
    weights = [draw.uniform(-0.3, 0.3) for _ in FEATURES]
    tape.changes = [(AT + HOUR // 2, model_record(weights, -2.5, "ctr-1", updated_ms=5))]
    market = Market(3, customers)
    run(market, tape, market.events(AT, AT + HOUR, events))
    before = dict(tape.learned)
    found = tape.again(AT, AT + 2 * HOUR)
    return Found(found.decisions, found.digest_equal, bool(before) and tape.learned == before)
