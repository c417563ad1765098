"""A truth of clicks that can be seen: the probability is a function of the decision's own features.

The market's customers click for their latent tastes (`jobs.market.response`), of which a feature
only ever shows a shadow, so no model can come near that truth. Here the truth is logistic in what
the stream saw, with two bends that a logistic regression can only approximate; it says how near a
trainer gets to the best that can be done with these features.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, tanh
from operator import mul
from typing import Final

from scoring.features import FEATURES

BIAS: Final = -8.6
WEIGHTS: Final[dict[str, float]] = {
    "events_log": 0.15,
    "session_events_log": 0.45,
    "cart_per_view": 5.0,
    "purchase_per_view": 4.0,
    "orders_log": 0.5,
    "cart_open_log": 0.7,
    "cart_abandoned_share": -1.0,
    "message_click_log_odds": 0.25,
    "bargain_share": 0.5,
    "member_rank": 0.5,
    "hour_habit": 0.5,
    "hour_sin": 0.5,
    "hour_cos": -0.4,
    "weekend": 0.4,
    "discount_for_bargainer": 6.0,
    "item_touches_log": 0.4,
    "category_share": 2.0,
    "brand_share": 0.8,
    "price_to_usual_log": -0.4,
    "campaign_bucket_0": -0.6,
    "campaign_bucket_2": 0.5,
    "campaign_bucket_3": 1.0,
    "campaign_bucket_5": -1.2,
    "campaign_bucket_6": 0.4,
}
"""Feature → what one more of it adds to the log-odds of a click."""

_SLOPES: Final = tuple(WEIGHTS.get(name, 0.0) for name in FEATURES)
_CATEGORY, _CART, _RANK = (
    FEATURES.index(name) for name in ("category_share", "cart_open_log", "member_rank")
)


def click_probability(features: Sequence[float]) -> float:
    """P(clicked | these features)."""
    logit = sum(map(mul, _SLOPES, features), BIAS)
    logit += 0.4 * tanh(features[_CART] * features[_CATEGORY])
    logit -= 0.15 * max(0.0, features[_RANK] - 2.0)
    return 1.0 / (1.0 + exp(-logit))
