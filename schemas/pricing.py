"""What an order is worth to the shop, and between what an offer may be chosen for it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.decision import Ratio
from schemas.event import SCHEMA_VERSION, Money

Slope = Annotated[float, Meta(ge=0, le=200)]
OfferType = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="such as coupon")]


class OfferLimits(Struct, frozen=True):
    """One type of offer that a campaign may make, and the discounts that it may come with.

    ``cost`` is what an order with it costs besides the discount, such as postage; ``appeal`` is
    what the type by itself adds to the log-odds of an order.
    """

    type: OfferType
    least_ratio: Ratio = 0.0
    most_ratio: Ratio = 0.0
    step_ratio: Annotated[float, Meta(ge=0.001, le=1)] = 0.01
    cost: Money = 0.0
    appeal: Annotated[float, Meta(ge=-5, le=5)] = 0.0


class PriceResponse(Struct, frozen=True):
    """How likely a click becomes an order: a logistic function of the discount.

    Without a discount ``conversion_ratio`` of the clicks do. A discount d adds
    (``per_discount`` + ``per_bargain`` × the customer's share of bargains) × d to the log-odds.
    """

    conversion_ratio: Annotated[float, Meta(ge=1e-6, le=0.999)] = 0.05
    per_discount: Slope = 0.0
    per_bargain: Slope = 0.0


class Pricing(Struct, frozen=True):
    """A campaign's economics. Without ``choices`` its one offer is made as it stands.

    ``order_value`` and ``margin_ratio`` hold where neither the trigger nor the catalogue knows
    better. No offer is chosen that leaves less than ``least_margin_ratio`` of what the customer
    pays, and none is made as it stands where a least above 0 is stated. For ``explore_ratio`` of
    the decisions the offer is drawn evenly from all that are allowed, so that the price response
    can be learned without bias.
    """

    order_value: Annotated[float, Meta(gt=0, le=1e12)] = 50.0
    margin_ratio: Ratio = 0.3
    least_margin_ratio: Annotated[float, Meta(ge=0, le=0.99)] = 0.0
    response: PriceResponse = PriceResponse()
    choices: Annotated[tuple[OfferLimits, ...], Meta(max_length=8)] = ()
    explore_ratio: Annotated[float, Meta(ge=0, le=0.2)] = 0.0


class LearnedResponse(Struct, frozen=True, tag_field="kind", tag="response"):
    """A campaign's price response as its own orders show it; goes before the configured one."""

    campaign_id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    response: PriceResponse
    clicks: Annotated[int, Meta(ge=0)]
    orders: Annotated[int, Meta(ge=0)]
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION
