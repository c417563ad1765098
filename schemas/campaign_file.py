"""Campaigns and the house policy as people write them: YAML with units that read aloud.

``within: 30m``, ``cooldown: 1d``, ``holdout: 5%``. A file is one of `CampaignFile` and
`PolicyFile`, told apart by ``kind``; here they become the records that steer the stream.
"""

from __future__ import annotations

import re
from math import log
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from schemas.control import (
    AbsenceTrigger,
    ActionName,
    Campaign,
    Cap,
    EventTrigger,
    Policy,
    QuietHours,
    Slug,
    TimeOfDay,
    Trigger,
)
from schemas.decision import Offer
from schemas.event import Money
from schemas.outcome import Channel
from schemas.pricing import OfferLimits, OfferType, PriceResponse, Pricing

Duration = Annotated[
    str,
    Meta(
        pattern=r"^[1-9][0-9]{0,8}(ms|s|m|h|d)$",
        description="a duration: a whole number and its unit (ms, s, m, h, d), such as 30m or 1d",
    ),
]
DurationOrNone = Annotated[
    Literal[0] | Duration, Meta(description="0 for none, or a duration such as 30m or 1d")
]
Percent = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,3}(\.[0-9]{1,6})?%$",
        description="a share in percent, such as 5% or 2.5%",
    ),
]

_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"(\d+)(ms|s|m|h|d)")


class _Form(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class EventForm(_Form, frozen=True, tag="event"):
    """Fires at an event: one of ``actions``, seen ``at_least`` times ``within`` a while."""

    actions: Annotated[tuple[ActionName, ...], Meta(min_length=1)]
    at_least: Annotated[int, Meta(ge=1, le=20)] = 1
    within: Duration = "1h"
    same: Literal["item", "category"] | None = None

    def trigger(self) -> EventTrigger:
        """The trigger as the stream reads it."""
        return EventTrigger(self.actions, self.at_least, duration_ms(self.within), self.same)


class AbsenceForm(_Form, frozen=True, tag="absence"):
    """Fires when, after one of ``after``, none of ``without`` follows ``within`` a while."""

    after: Annotated[tuple[ActionName, ...], Meta(min_length=1)]
    without: Annotated[tuple[ActionName, ...], Meta(min_length=1)]
    within: Duration

    def trigger(self) -> AbsenceTrigger:
        """The trigger as the stream reads it."""
        return AbsenceTrigger(self.after, self.without, duration_ms(self.within))


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


class CampaignFile(_Form, frozen=True, tag="campaign"):
    """One campaign: when to speak, through what, with which offer, how often."""

    id: Slug
    name: Annotated[str, Meta(min_length=1, max_length=200, description="what people call it")]
    trigger: EventForm | AbsenceForm
    channels: Annotated[
        tuple[Channel, ...], Meta(min_length=1, max_length=3, description="sms, push, email")
    ]
    status: Literal["active", "paused"] = "active"
    message: Annotated[
        Literal["marketing", "transactional"],
        Meta(description="transactional for what is owed to the customer, such as a receipt"),
    ] = "marketing"
    category: Slug = "general"
    quiet_hours: Annotated[
        Literal["defer", "drop"], Meta(description="what becomes of a message at night")
    ] = "defer"
    description: str = ""
    author: str = ""
    offer: OfferForm = OfferForm()
    worth: WorthForm = WorthForm()
    cooldown: DurationOrNone = "1d"
    attribution_window: Duration = "1d"
    expires_after: Duration = "1d"
    holdout: Percent = "0%"
    min_score: Percent = "0%"

    def record(self) -> Campaign:
        """The campaign as the stream reads it, of version 1 and no date."""
        trigger: Trigger = self.trigger.trigger()
        return Campaign(
            id=self.id,
            version=1,
            name=self.name,
            trigger=trigger,
            channels=self.channels,
            status=self.status,
            message=self.message,
            category=self.category,
            quiet_hours=self.quiet_hours,
            offer=self.offer.offer(),
            pricing=self.worth.pricing(self.offer.choose, self.offer.explore),
            cooldown_ms=duration_ms(self.cooldown),
            attribution_window_ms=duration_ms(self.attribution_window),
            expires_after_ms=duration_ms(self.expires_after),
            holdout_ratio=ratio(self.holdout),
            min_score=ratio(self.min_score),
            description=self.description,
            author=self.author,
        )


class CapForm(Struct, frozen=True, forbid_unknown_fields=True):
    """At most ``most`` marketing messages ``within`` a while, or ``per`` day, week or month.

    Give one of the two. ``channel`` and ``category`` narrow what is counted.
    """

    most: Annotated[int, Meta(ge=0, le=64)]
    within: Duration | None = None
    per: Literal["day", "week", "month"] | None = None
    channel: Channel | None = None
    category: Slug | None = None

    def cap(self) -> Cap:
        """The cap as the stream reads it."""
        within_ms = None if self.within is None else duration_ms(self.within)
        return Cap(self.most, within_ms, self.per, self.channel, self.category)


class QuietHoursForm(Struct, frozen=True, forbid_unknown_fields=True):
    """No marketing from ``start`` until ``end``, by the clock where the customer lives."""

    start: TimeOfDay = "22:00"
    end: TimeOfDay = "08:00"

    def quiet_hours(self) -> QuietHours:
        """The quiet hours as the stream reads them."""
        return QuietHours(self.start, self.end)


class PolicyFile(_Form, frozen=True, tag="policy"):
    """The house rules that hold over all campaigns; there is one such file."""

    lateness: DurationOrNone = "1m"
    future_tolerance: DurationOrNone = "5m"
    holdout: Percent = "5%"
    caps: Annotated[tuple[CapForm, ...], Meta(max_length=16)] = (CapForm(3, "1d"),)
    quiet_hours: QuietHoursForm | None = None
    reservation: Duration = "3d"
    bounce_limit: Annotated[int, Meta(ge=0, le=100)] = 3
    default_zone: Annotated[str, Meta(description="IANA time zone, such as Asia/Shanghai")] = "UTC"
    channel_cost: dict[Channel, Money] = field(
        default_factory=lambda: {"sms": 0.05, "push": 0.002, "email": 0.004}
    )
    prior_alpha: Annotated[float, Meta(gt=0)] = 1.0
    prior_beta: Annotated[float, Meta(gt=0)] = 19.0

    def record(self) -> Policy:
        """The policy as the stream reads it, of version 1 and no date."""
        return Policy(
            lateness_ms=duration_ms(self.lateness),
            future_tolerance_ms=duration_ms(self.future_tolerance),
            holdout_ratio=ratio(self.holdout),
            caps=tuple(cap.cap() for cap in self.caps),
            quiet_hours=None if self.quiet_hours is None else self.quiet_hours.quiet_hours(),
            reservation_ms=duration_ms(self.reservation),
            bounce_limit=self.bounce_limit,
            default_zone=self.default_zone,
            channel_cost={str(name): cost for name, cost in self.channel_cost.items()},
            prior_alpha=self.prior_alpha,
            prior_beta=self.prior_beta,
        )


def duration_ms(text: Literal[0] | str) -> int:
    """Milliseconds of a `Duration`: ``30m`` → 1 800 000."""
    if text == 0:
        return 0
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration")
    return int(found[1]) * _UNIT_MS[found[2]]


def ratio(text: str) -> float:
    """The share that a `Percent` states: ``5%`` → 0.05."""
    return round(float(text.removesuffix("%")) / 100, 10)


def _slope(doubles_at: str | None) -> float:
    """Log-odds for each unit of discount, where they double at the given one; 0 for never."""
    return 0.0 if doubles_at is None else round(log(2) / max(ratio(doubles_at), 0.001), 6)
