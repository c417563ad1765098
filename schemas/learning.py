"""What the models and the bandit learn from."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from schemas.event import SCHEMA_VERSION
from schemas.outcome import Channel


class Example(Struct, frozen=True):
    """Topic ``beckon.examples.v1``: the features of an exposure as the stream saw them.

    ``features`` are in the order that ``feature_hash`` names; the label comes as the `Reward` of
    the same ``decision_id``. ``channels`` were open to the choice, ``channel`` among them, which
    was chosen with the probability ``propensity``. ``variant`` is ``<experiment>/<variant>``, or
    empty; ``case`` the context that the choice was made in, -1 where the policy has no use for one.
    ``shadow_score`` is what the other model that the stream holds gives the very same features; it
    decided nothing. ``shadow_version`` is empty where no other is held.
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
    channels: tuple[Channel, ...] = ()
    variant: str = ""
    case: int = -1
    shadow_version: str = ""
    shadow_score: float = 0.0


class Reward(Struct, frozen=True):
    """Topic ``beckon.rewards.v1``, keyed by arm (``campaign/channel``), or ``organic``.

    What an outcome, or the end of the attribution window, says of a decision. One of ``clicked``
    (worth 1) and ``expired`` (0: the window closed without a click) is the label of its example.
    ``unsubscribed`` and ``complained`` are told once each. ``bounced`` takes the example back, and
    what it was worth with it (``reward``): the message was never seen. Of these, ``exposed_ms`` is
    when the decision was made, ``variant`` and ``case`` are those of its example.

    ``converted`` and ``reversed`` are entries of an account, to be added up: ``share`` of an order
    and ``value`` are credited to this decision (`scoring.attribution`), ``orders`` and
    ``order_value`` came in its window, whoever is credited. So they are told of every decision
    whose window held the order, those of held-out customers (``holdout``) among them. What is
    credited to nobody is organic: it names no decision, campaign or channel. Over all entries of
    an order, ``share`` and ``value`` sum to what of it was not given back.

    A record is known by (``decision_id``, ``kind``, ``outcome_id``, ``order_id``).
    """

    decision_id: str
    user_id: str
    campaign_id: str
    channel: Channel | None
    kind: Literal[
        "clicked", "expired", "bounced", "unsubscribed", "complained", "converted", "reversed"
    ]
    reward: float
    ts: int
    value: float = 0.0
    schema_version: int = SCHEMA_VERSION
    outcome_id: str = ""
    order_id: str = ""
    share: float = 0.0
    orders: int = 0
    order_value: float = 0.0
    holdout: bool = False
    exposed_ms: int = 0
    variant: str = ""
    case: int = -1


LABELS: Final = frozenset({"clicked", "expired"})
"""Kinds of `Reward` that label an example and move a posterior of click-through."""

ORGANIC: Final = "organic"
"""The key of what is credited to no decision."""
