"""The first model: a market is played through the core in this process, and learned from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from jobs.market.loop import Engine, run
from jobs.market.market import Market
from jobs.train import fit
from jobs.trainers.base import Training, join
from schemas.control import ControlRecord

SEED: Final = 11
CUSTOMERS: Final = 12_000
EVENTS: Final = 120_000
_SPAN_MS: Final = 12 * 3_600_000


def first_model(control: Sequence[ControlRecord]) -> Training:
    """Train on half a day of another market than the one of the demo (its seed differs)."""
    market = Market(SEED, CUSTOMERS)
    engine = Engine(control, keep_examples=True)
    end_ms = round(time.time() * 1_000)
    run(market, engine, market.events(end_ms - _SPAN_MS, end_ms, EVENTS))
    return fit(join(engine.kept), time.time())
