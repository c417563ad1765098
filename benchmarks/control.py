"""What is in force during a run: the shipped campaigns, more of every kind, and a model."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from msgspec.structs import replace

from jobs.campaigns.files import read_files
from schemas.control import (
    AbsenceTrigger,
    Campaign,
    ControlRecord,
    EventTrigger,
    Policy,
    control_key,
)
from schemas.decision import Offer
from schemas.learning_rules import Learning
from schemas.outcome import CHANNELS
from schemas.wire import encode
from scoring.features import FEATURES
from scoring.onnx_export import model_record

CAMPAIGNS: Final = Path(__file__).resolve().parents[1] / "infra" / "campaigns"
MODEL_VERSION: Final = "benchmark-1"
MODEL_SEED: Final = 20


def control(count: int = 0) -> list[tuple[str, bytes]]:
    """Records for the control topic: policy, ``count`` campaigns (0: the shipped ones), a model.

    The channels' mix is fixed and no outcomes flow, so nothing that a contender learns, or when it
    learns it, can make its decisions differ.
    """
    policy = [each for each in shipped() if isinstance(each, Policy)]
    model = model_record(*_weights(), MODEL_VERSION)
    records: list[ControlRecord] = [*policy, *campaigns(count), model]
    return [(control_key(record), encode(record)) for record in records]


def campaigns(count: int = 0) -> list[Campaign]:
    """The shipped campaigns first, then synthetic ones of every kind of trigger."""
    ours = [record for record in shipped() if isinstance(record, Campaign)]
    if count == 0:
        return ours
    return [*ours[:count], *(_synthetic(n) for n in range(count - len(ours)))]


def shipped() -> list[ControlRecord]:
    """The campaigns and the policy that come with the product, their mixes fixed.

    What is learned, and when, would otherwise be seen in the decisions.
    """
    records = [file.record for file in read_files([CAMPAIGNS])]
    even = Learning(fixed=dict.fromkeys(CHANNELS, 1.0))
    return [replace(each, learning=even) if isinstance(each, Policy) else each for each in records]


def _weights() -> tuple[list[float], float]:
    """A model like a trained one: small weights, a click-through of some per cent."""
    rng = np.random.default_rng(MODEL_SEED)
    return rng.normal(0, 0.15, len(FEATURES)).tolist(), -2.7


def _synthetic(number: int) -> Campaign:
    trigger: EventTrigger | AbsenceTrigger
    match number % 4:
        case 0:
            trigger = EventTrigger(("favourite",), at_least=1 + number % 3, same="category")
        case 1:
            trigger = EventTrigger(("view", "search"), at_least=4 + number % 5)
        case 2:
            trigger = AbsenceTrigger(("search",), ("cart", "purchase"), (20 + number % 20) * 60_000)
        case _:
            trigger = EventTrigger(("cart_remove", "refund"))
    return Campaign(
        id=f"synthetic-{number:04d}",
        version=1,
        name=f"Synthetic campaign {number}",
        trigger=trigger,
        channels=CHANNELS,
        offer=Offer("discount", round(0.05 + 0.01 * (number % 20), 2)),
        holdout_ratio=0.1 if number % 5 == 0 else 0.0,
    )
