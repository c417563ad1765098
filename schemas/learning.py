"""What the models and the bandit learn from."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from schemas.event import SCHEMA_VERSION
from schemas.outcome import Channel


class Example(Struct, frozen=True):
    """Topic ``beckon.examples.v1``: the features of an exposure as the stream saw them.

    ``features`` are in the order that ``feature_hash`` names; the label comes as the `Reward` of
    the same ``decision_id``.
    """

    decision_id: str
    user_id: str
    campaign_id: str
    channel: Channel
    features: list[float]
    feature_hash: str
    score: float
    propensity: float
    model_version: str
    decided_at_ms: int
    holdout: bool = False
    schema_version: int = SCHEMA_VERSION


class Reward(Struct, frozen=True):
    """Topic ``beckon.rewards.v1``, keyed by arm (``campaign/channel``).

    ``clicked`` is worth 1, ``expired`` (the attribution window closed without a click) 0.
    ``converted`` carries revenue and moves no posterior.
    """

    decision_id: str
    user_id: str
    campaign_id: str
    channel: Channel
    kind: Literal["clicked", "expired", "converted"]
    reward: float
    ts: int
    value: float = 0.0
    schema_version: int = SCHEMA_VERSION
