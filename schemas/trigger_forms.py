"""What sets a campaign off, as people write it: a form for each struct of `schemas.triggers`."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

from schemas import triggers
from schemas.triggers import ActionName, Actions, Point, Slug, Span, Weekday
from schemas.units import (
    Conditions,
    Distance,
    Duration,
    Form,
    Hours,
    Zone,
    all_of,
    duration_ms,
    metres,
    minutes,
)


class EventForm(Form, frozen=True, tag="event"):
    """Fires at an event: one of ``actions``, seen ``at_least`` times ``within`` a while.

    One of ``unless`` afterwards cancels what is still pending.
    """

    actions: Actions
    at_least: Annotated[int, Meta(ge=1, le=20)] = 1
    within: Duration = "1h"
    same: Literal["item", "category"] | None = None
    unless: tuple[ActionName, ...] = ()

    def trigger(self) -> triggers.EventTrigger:
        """The trigger as the stream reads it."""
        return triggers.EventTrigger(
            self.actions, self.at_least, duration_ms(self.within), self.same, self.unless
        )


class AbsenceForm(Form, frozen=True, tag="absence"):
    """Fires when, after one of ``after``, none of ``without`` follows ``within`` a while."""

    after: Actions
    without: Actions
    within: Duration

    def trigger(self) -> triggers.AbsenceTrigger:
        """The trigger as the stream reads it."""
        return triggers.AbsenceTrigger(self.after, self.without, duration_ms(self.within))


class CountForm(Form, frozen=True, tag="count"):
    """Fires when ``actions`` were seen ``at_least`` times ``within`` a while, or ever."""

    actions: Actions
    at_least: Annotated[int, Meta(ge=1, le=10_000)]
    within: Duration | None = None

    def trigger(self) -> triggers.CountTrigger:
        """The trigger as the stream reads it."""
        within_ms = None if self.within is None else duration_ms(self.within)
        return triggers.CountTrigger(self.actions, self.at_least, within_ms)


class SilenceForm(Form, frozen=True, tag="silence"):
    """Fires when there were no ``actions`` ``for`` a time."""

    actions: Actions
    for_: Duration = field(name="for")

    def trigger(self) -> triggers.SilenceTrigger:
        """The trigger as the stream reads it."""
        return triggers.SilenceTrigger(self.actions, duration_ms(self.for_))


class SeasonedForm(Form, frozen=True, tag="seasoned"):
    """Fires at one of ``actions`` by a customer whose first of them is ``since`` so long ago."""

    actions: Actions
    since: Duration

    def trigger(self) -> triggers.SeasonedTrigger:
        """The trigger as the stream reads it."""
        return triggers.SeasonedTrigger(self.actions, duration_ms(self.since))


class SegmentForm(Form, frozen=True, tag="segment"):
    """Fires when a customer enters or leaves a segment."""

    segment: Conditions
    on: Literal["enter", "exit"] = "enter"

    def trigger(self) -> triggers.SegmentTrigger:
        """The trigger as the stream reads it."""
        return triggers.SegmentTrigger(all_of(self.segment), self.on)


class CouponForm(Form, frozen=True, tag="coupon"):
    """Fires at one of ``actions`` when the customer holds no valid coupon of this campaign."""

    actions: Actions
    redeemed_by: tuple[ActionName, ...] = ("purchase",)

    def trigger(self) -> triggers.CouponTrigger:
        """The trigger as the stream reads it."""
        return triggers.CouponTrigger(self.actions, self.redeemed_by)


class PointForm(Struct, frozen=True, forbid_unknown_fields=True):
    """A place on earth; degrees in WGS 84."""

    lat: triggers.Latitude
    lon: triggers.Longitude


class FenceForm(Form, frozen=True, tag="fence"):
    """Fires near a ``centre`` or a shop of a ``chain``, at once or after a while there."""

    on: Literal["enter", "dwell"] = "enter"
    centre: PointForm | None = None
    chain: Slug | None = None
    radius: Distance = "3km"
    dwell: Duration = "10m"

    def trigger(self) -> triggers.FenceTrigger:
        """The trigger as the stream reads it."""
        centre = None if self.centre is None else Point(self.centre.lat, self.centre.lon)
        return triggers.FenceTrigger(
            self.on, centre, self.chain, metres(self.radius), duration_ms(self.dwell)
        )


class HoursForm(Form, frozen=True, tag="hours"):
    """Fires at one of ``actions`` in the hours of a lower price."""

    actions: Actions
    spans: tuple[Hours, ...] = ()
    weekdays: tuple[Weekday, ...] = ()
    zone: Zone = "UTC"
    forecast: Slug | None = None
    quietest: Annotated[int, Meta(ge=1, le=12)] = 2
    lasts_days: Annotated[float, Meta(gt=0, le=366)] | None = None

    def trigger(self) -> triggers.HoursTrigger:
        """The trigger as the stream reads it."""
        return triggers.HoursTrigger(
            self.actions,
            tuple(Span(*minutes(span)) for span in self.spans),
            self.weekdays,
            self.zone,
            self.forecast,
            self.quietest,
            self.lasts_days,
        )


class StockForm(Form, frozen=True, tag="stock"):
    """Fires when a customer turns to an item that will soon be gone."""

    actions: Actions
    at_most: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    cover_days: Annotated[float, Meta(gt=0, le=366)] | None = None

    def trigger(self) -> triggers.StockTrigger:
        """The trigger as the stream reads it."""
        return triggers.StockTrigger(self.actions, self.at_most, self.cover_days)


class MembershipForm(Form, frozen=True, tag="membership"):
    """Fires some time ``before`` a membership ends."""

    before: Duration = "15d"

    def trigger(self) -> triggers.MembershipTrigger:
        """The trigger as the stream reads it."""
        return triggers.MembershipTrigger(duration_ms(self.before))


class OverdueForm(Form, frozen=True, tag="overdue"):
    """Fires some time ``before`` a payment would be overdue; ``settled_by`` cancels."""

    before: Duration = "30d"
    settled_by: tuple[ActionName, ...] = ("payment",)

    def trigger(self) -> triggers.OverdueTrigger:
        """The trigger as the stream reads it."""
        return triggers.OverdueTrigger(duration_ms(self.before), self.settled_by)


class SlotForm(Form, frozen=True, tag="slot"):
    """Fills a recommendation slot at one of ``actions`` from the lists of this name."""

    actions: Actions
    list: Slug
    by: Literal["item", "category", "customer"] | None = None
    size: Annotated[int, Meta(ge=1, le=20)] = 3
    bought_by: tuple[ActionName, ...] = ("purchase",)

    def trigger(self) -> triggers.SlotTrigger:
        """The trigger as the stream reads it."""
        return triggers.SlotTrigger(self.actions, self.list, self.by, self.size, self.bought_by)


TriggerForm: TypeAlias = (
    EventForm
    | AbsenceForm
    | CountForm
    | SilenceForm
    | SeasonedForm
    | SegmentForm
    | CouponForm
    | FenceForm
    | HoursForm
    | StockForm
    | MembershipForm
    | OverdueForm
    | SlotForm
)
