"""The house policy as people write it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.control import AttributionModel, Cap, Policy, QuietHours, TimeOfDay
from schemas.event import Money
from schemas.learning_rules import LearningForm
from schemas.outcome import Channel
from schemas.triggers import Slug
from schemas.units import Duration, DurationOrNone, Form, Percent, Zone, duration_ms, ratio


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


class PolicyFile(Form, frozen=True, tag="policy"):
    """The house rules that hold over all campaigns; there is one such file."""

    lateness: DurationOrNone = "1m"
    future_tolerance: DurationOrNone = "5m"
    holdout: Percent = "5%"
    caps: Annotated[tuple[CapForm, ...], Meta(max_length=16)] = (CapForm(3, "1d"),)
    quiet_hours: QuietHoursForm | None = None
    reservation: Duration = "3d"
    bounce_limit: Annotated[int, Meta(ge=0, le=100)] = 3
    default_zone: Zone = "UTC"
    channel_cost: dict[Channel, Money] = field(
        default_factory=lambda: {"sms": 0.05, "push": 0.002, "email": 0.004}
    )
    prior_alpha: Annotated[float, Meta(gt=0)] = 1.0
    prior_beta: Annotated[float, Meta(gt=0)] = 19.0
    attribution: AttributionModel = "last_touch"
    attribution_half_life: Duration = "7d"
    learning: LearningForm = LearningForm()

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
            attribution=self.attribution,
            attribution_half_life_ms=duration_ms(self.attribution_half_life),
            learning=self.learning.learning(),
        )
