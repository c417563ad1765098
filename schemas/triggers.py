"""What sets a campaign off: one struct for each kind in `scoring.campaigns`.

The fields say what the kind watches for; how it remembers is the kind's own affair.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

DAY_MS = 86_400_000
TIMES_LIMIT = 100
"""Most repeats that a windowed count can ask for: so many times are kept for each customer."""

Slug = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9-]{0,63}$",
        description="lower-case letters, digits and dashes, such as spring-sale",
    ),
]
ActionName = Annotated[
    str,
    Meta(
        pattern=r"^([a-z][a-z0-9_]{0,31}|\*)$",
        description="an action in lower case, such as add_to_list, or * for any",
    ),
]
Actions = Annotated[tuple[ActionName, ...], Meta(min_length=1)]
Milliseconds = Annotated[int, Meta(ge=1, le=366 * DAY_MS)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
Radius = Annotated[float, Meta(ge=10, le=50_000, description="metres")]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class EventTrigger(Struct, frozen=True, tag_field="kind", tag="event"):
    """Fires at an event: ``actions`` seen ``at_least`` times within ``within_ms``.

    ``same`` narrows the count to the triggering event's item or category. One of ``unless``
    afterwards cancels what is still pending.
    """

    actions: Actions
    at_least: Annotated[int, Meta(ge=1, le=20)] = 1
    within_ms: Annotated[int, Meta(ge=1, le=DAY_MS)] = 3_600_000
    same: Literal["item", "category"] | None = None
    unless: tuple[ActionName, ...] = ()


class AbsenceTrigger(Struct, frozen=True, tag_field="kind", tag="absence"):
    """Fires when, after one of ``after``, none of ``without`` follows within ``within_ms``.

    Each further ``after`` starts the wait anew. Cart abandonment and win-back are both of it.
    """

    after: Actions
    without: Actions
    within_ms: Milliseconds


class CountTrigger(Struct, frozen=True, tag_field="kind", tag="count"):
    """Fires when ``actions`` were seen ``at_least`` times within ``within_ms``.

    Without ``within_ms`` all time counts, and each customer sets it off once.
    """

    actions: Actions
    at_least: Annotated[int, Meta(ge=1, le=10_000)]
    within_ms: Milliseconds | None = None


class SilenceTrigger(Struct, frozen=True, tag_field="kind", tag="silence"):
    """Fires when there were no ``actions`` for ``for_ms``: since the last, or since we know them.

    Other activity does not start the wait anew, which tells it from an absence.
    """

    actions: Actions
    for_ms: Milliseconds


class SeasonedTrigger(Struct, frozen=True, tag_field="kind", tag="seasoned"):
    """Fires at one of ``actions`` by a customer whose first of them is ``since_ms`` ago or more."""

    actions: Actions
    since_ms: Milliseconds


class SegmentTrigger(Struct, frozen=True, tag_field="kind", tag="segment"):
    """Fires when a customer enters or leaves a segment, by event or by the passing of time.

    ``segment`` is a condition over the dimensions of the profile. Leaving cancels what an entry
    has pending, and coming back what an exit has.
    """

    segment: Annotated[str, Meta(min_length=1, max_length=2_000)]
    on: Literal["enter", "exit"] = "enter"


class CouponTrigger(Struct, frozen=True, tag_field="kind", tag="coupon"):
    """Fires at one of ``actions`` when the customer holds no valid coupon of this campaign.

    A coupon is valid for the offer's days, or until one of ``redeemed_by``.
    """

    actions: Actions
    redeemed_by: tuple[ActionName, ...] = ("purchase",)


class Point(Struct, frozen=True):
    """A place on earth; degrees in WGS 84."""

    lat: Latitude
    lon: Longitude


class FenceTrigger(Struct, frozen=True, tag_field="kind", tag="fence"):
    """Fires when a customer comes within ``radius_m`` of a place, or has stayed there a while.

    The places are one ``centre``, or every shop of a ``chain`` (`schemas.control.Shop`). Being
    seen outside cancels what is pending.
    """

    on: Literal["enter", "dwell"] = "enter"
    centre: Point | None = None
    chain: Slug | None = None
    radius_m: Radius = 3_000.0
    dwell_ms: Annotated[int, Meta(ge=60_000, le=DAY_MS)] = 600_000


class Span(Struct, frozen=True):
    """A part of the day in minutes after midnight; one that ends before it starts spans it."""

    start: Annotated[int, Meta(ge=0, le=1_439)]
    end: Annotated[int, Meta(ge=0, le=1_440)]


class HoursTrigger(Struct, frozen=True, tag_field="kind", tag="hours"):
    """Fires at one of ``actions`` in the hours of a lower price.

    They are the ``spans`` of ``weekdays`` in ``zone``, or the ``quietest`` hours of each day by
    the ``forecast`` of that name. The end of the hour cancels what is pending. With
    ``lasts_days`` it is silent of items whose stock is known to be sold within so many days anyhow.
    """

    actions: Actions
    spans: tuple[Span, ...] = ()
    weekdays: tuple[Weekday, ...] = ()
    zone: str = "UTC"
    forecast: Slug | None = None
    quietest: Annotated[int, Meta(ge=1, le=12)] = 2
    lasts_days: Annotated[float, Meta(gt=0, le=366)] | None = None


class StockTrigger(Struct, frozen=True, tag_field="kind", tag="stock"):
    """Fires when a customer turns to an item that will soon be gone.

    Soon: no more than ``at_most`` pieces are left, or no more than last ``cover_days`` by what the
    night expects to be sold (`schemas.control.ItemSales`), or else by the catalogue. Never for what
    is gone or of unknown stock. Buying it cancels what is pending.
    """

    actions: Actions
    at_most: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    cover_days: Annotated[float, Meta(gt=0, le=366)] | None = None


class MembershipTrigger(Struct, frozen=True, tag_field="kind", tag="membership"):
    """Fires ``before_ms`` before a membership ends; renewal cancels what is pending."""

    before_ms: Milliseconds = 15 * DAY_MS


class OverdueTrigger(Struct, frozen=True, tag_field="kind", tag="overdue"):
    """Fires ``before_ms`` before a payment would be overdue; one of ``settled_by`` cancels."""

    before_ms: Milliseconds = 30 * DAY_MS
    settled_by: tuple[ActionName, ...] = ("payment",)


class SlotTrigger(Struct, frozen=True, tag_field="kind", tag="slot"):
    """Fills a recommendation slot at one of ``actions`` from the lists of this name.

    The list is that of the event's item or category (``by``), or the general one; by ``customer``
    it is what the night picked for them, made fresh by the list of the event's item. Left out are
    what is gone, what was bought (``bought_by``) and the item itself; without an item left it is
    silent.
    """

    actions: Actions
    list: Slug
    by: Literal["item", "category", "customer"] | None = None
    size: Annotated[int, Meta(ge=1, le=20)] = 3
    bought_by: tuple[ActionName, ...] = ("purchase",)


Trigger = (
    EventTrigger
    | AbsenceTrigger
    | CountTrigger
    | SilenceTrigger
    | SeasonedTrigger
    | SegmentTrigger
    | CouponTrigger
    | FenceTrigger
    | HoursTrigger
    | StockTrigger
    | MembershipTrigger
    | OverdueTrigger
    | SlotTrigger
)


def fault(trigger: Trigger) -> tuple[str, str] | None:
    """The field of a trigger that contradicts the others, and what to do; None when sound."""
    match trigger:
        case CountTrigger() if trigger.within_ms is not None and trigger.at_least > TIMES_LIMIT:
            return "at_least", f"at most {TIMES_LIMIT} in a window; leave out `within` for all time"
        case SegmentTrigger() if not trigger.segment.strip():
            return "segment", "say who belongs to it, such as `rfm_monetary_90d >= 500`"
        case FenceTrigger() if trigger.centre is None and trigger.chain is None:
            return "centre", "a fence needs a `centre` (lat, lon) or a `chain` of shops"
        case FenceTrigger() if trigger.centre is not None and trigger.chain is not None:
            return "chain", "a fence has a `centre` or a `chain`, not both"
        case HoursTrigger() if not trigger.spans and trigger.forecast is None:
            return "spans", "say which hours: `spans` such as 14:00-16:00, or a `forecast`"
        case HoursTrigger() if trigger.spans and trigger.forecast is not None:
            return "forecast", "hours come from `spans` or from a `forecast`, not both"
        case HoursTrigger() if any(span.start == span.end for span in trigger.spans):
            return "spans", "a span that ends where it starts is empty; for all day say 0:00-24:00"
        case StockTrigger() if trigger.at_most is None and trigger.cover_days is None:
            return "at_most", "say when an item is nearly gone: `at_most` pieces or `cover_days`"
    return None
