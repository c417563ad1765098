"""A campaign's money as people write it: what it offers, what an order is worth, what it spends."""

from __future__ import annotations

from math import log
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.budget import Allowance, Budget
from schemas.decision import Offer
from schemas.event import Money
from schemas.outcome import Channel
from schemas.pricing import OfferLimits, OfferType, PriceResponse, Pricing
from schemas.units import Percent, Zone, ratio


class ChoiceForm(Struct, frozen=True, forbid_unknown_fields=True):
    """A type of offer that may be chosen, with a discount between ``least`` and ``most``.

    ``costs`` is what an order with it costs besides the discount, such as postage; ``appeal`` is
    by how much the type alone raises the odds of an order: 1.2 is by a fifth.
    """

    type: OfferType
    least: Percent = "0%"
    most: Percent = "0%"
    step: Percent = "1%"
    costs: Money = 0.0
    appeal: Annotated[float, Meta(ge=0.01, le=100)] = 1.0

    def limits(self) -> OfferLimits:
        """The limits as the stream reads them."""
        return OfferLimits(
            self.type,
            ratio(self.least),
            ratio(self.most),
            ratio(self.step),
            self.costs,
            log(self.appeal),
        )


class WorthForm(Struct, frozen=True, forbid_unknown_fields=True):
    """What an order is worth, and how a discount moves it.

    ``conversion`` is the share of clicks that become an order without a discount. At a discount of
    ``odds_double_at`` their odds are twice those; for a customer who only buys bargains that is so
    at ``bargainers_double_at`` already. A margin is a share of the price that the customer pays.
    """

    order_value: Annotated[float, Meta(gt=0, le=1e12)] = 50.0
    margin: Percent = "30%"
    least_margin: Percent = "0%"
    conversion: Percent = "5%"
    odds_double_at: Percent | None = None
    bargainers_double_at: Percent | None = None

    def pricing(self, choices: tuple[ChoiceForm, ...], explore: str) -> Pricing:
        """The economics as the stream reads them."""
        everybody = _slope(self.odds_double_at)
        bargainers = max(everybody, _slope(self.bargainers_double_at))
        return Pricing(
            order_value=self.order_value,
            margin_ratio=ratio(self.margin),
            least_margin_ratio=ratio(self.least_margin),
            response=PriceResponse(ratio(self.conversion), everybody, bargainers - everybody),
            choices=tuple(choice.limits() for choice in choices),
            explore_ratio=ratio(explore),
        )


class OfferForm(Struct, frozen=True, forbid_unknown_fields=True):
    """What is offered; ``valid`` counts from the decision, in whole days.

    With ``choose`` the engine picks type and discount by expected margin (see ``worth``); for a
    share ``explore`` of the decisions it draws them evenly, to learn what a discount does.
    """

    type: str = "none"
    discount: Percent = "0%"
    choose: Annotated[tuple[ChoiceForm, ...], Meta(max_length=8)] = ()
    explore: Percent = "0%"
    valid: Annotated[
        str, Meta(pattern=r"^[1-9][0-9]{0,2}d$", description="whole days, such as 7d")
    ] = "7d"

    def offer(self) -> Offer:
        """The offer as decisions carry it."""
        return Offer(self.type, ratio(self.discount), int(self.valid[:-1]))


class AllowanceForm(Struct, frozen=True, forbid_unknown_fields=True):
    """The most that may be spent, in all and on a day; what is left out is no limit."""

    total: Money | None = None
    per_day: Money | None = None

    def allowance(self) -> Allowance:
        """The allowance as the stream reads it."""
        return Allowance(self.total, self.per_day)


class BudgetForm(Struct, frozen=True, forbid_unknown_fields=True):
    """What the campaign may spend, over all channels and on each of those named.

    A day's money is opened little by little (``pace: even``) or at midnight (``none``), by the
    clock of ``zone``. What a message costs is in the policy's ``channel_cost``.
    """

    total: Money | None = None
    per_day: Money | None = None
    channels: dict[Channel, AllowanceForm] = field(default_factory=dict)
    zone: Zone = "UTC"
    pace: Literal["even", "none"] = "even"

    def budget(self) -> Budget:
        """The budget as the stream reads it."""
        channels = {name: form.allowance() for name, form in self.channels.items()}
        return Budget(self.total, self.per_day, channels, self.zone, self.pace)


def _slope(doubles_at: str | None) -> float:
    """Log-odds for each unit of discount, where they double at the given one; 0 for never."""
    return 0.0 if doubles_at is None else round(log(2) / max(ratio(doubles_at), 0.001), 6)
