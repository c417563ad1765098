"""What the click model looks at: one definition, used by the stream and by training alike.

`customer_features` is what all campaigns of one event share; `campaign_features` adds what depends
on the campaign, its offer and the item it is about. Pure: the same profile and time give the same
numbers, here and in a replay. Every number is finite and lies within ± `BOUND`, whatever the
producers send; what is unknown has a stated neutral value.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from math import cos, log, log1p, pi, sin
from typing import Any, Final

from xxhash import xxh3_64_intdigest

from schemas.control import AbsenceTrigger, Campaign
from schemas.event import ACTIONS
from state.profile import Profile
from state.tagging import TAG_KINDS
from state.tagging.base import DAY_MS, HOUR_MS

BOUND: Final = 16.0
BUCKETS: Final = 8

_VERSION: Final = 1  # raise it when a feature's definition changes and its name does not

_CUSTOMER: Final[dict[str, str]] = {
    "events_log": "events ever, log",
    "active_day_ratio": "days with an event, of the days since the first one",
    "streak_days_log": "row of active days that the last event belongs to, log",
    "idle_minutes_log": "minutes since the last event, log",
    "session_events_log": "events in the newest session, log",
    "cart_per_view": "items put into the cart per item viewed, smoothed",
    "purchase_per_view": "purchases per item viewed, smoothed",
    "search_share": "searches, of all events, smoothed",
    "orders_log": "purchases ever, log",
    "order_age_days_log": "days since the last purchase, log; a year where there was none",
    "order_mean_log": "mean amount of a purchase, log; 0 where there was none",
    "refund_share": "refunds per purchase, smoothed",
    "cart_open_log": "items put into the cart and not settled yet, log",
    "cart_abandoned_share": "abandoned items, of those abandoned and bought, smoothed",
    "messages_log": "messages delivered, log",
    "message_click_log_odds": "odds that a delivered message was clicked, log, smoothed",
    "message_opened_share": "messages opened, of those delivered, smoothed",
    "bargain_share": "purchases below the mean price viewed before, smoothed",
    "bought_to_viewed_log": "mean price bought over mean price viewed, log; 0 where unknown",
    "member_rank": "level in the loyalty programme; 0 where there is none or it is unknown",
    "hour_habit": "how usual this hour of the day is for the customer; 0 is average",
    "hour_sin": "sine of the hour of the day, UTC",
    "hour_cos": "cosine of the hour of the day, UTC",
    "weekend": "Saturday or Sunday, UTC",
}
_CAMPAIGN: Final[dict[str, str]] = {
    "discount_ratio": "discount of the offer",
    "discount_for_bargainer": "discount times the customer's share of bargains",
    "absence_hours_log": "hours of waiting before the campaign speaks, log; 0 when it is at once",
    "item_touches_log": "recent events about the very item, log",
    "category_share": "the item's category in the customer's inclination",
    "brand_share": "the item's brand in the customer's inclination",
    "price_log": "price of the item, log; 0 where unknown",
    "price_to_usual_log": "the item's price over the mean price viewed, log; 0 where unknown",
    **{f"campaign_bucket_{n}": f"the campaign's own level, bucket {n}" for n in range(BUCKETS)},
}

MEANING: Final[dict[str, str]] = _CUSTOMER | _CAMPAIGN
"""Feature → what it says, in the order of the vector."""

FEATURES: Final[tuple[str, ...]] = tuple(MEANING)
FEATURE_HASH: Final = sha256("\n".join((str(_VERSION), *FEATURES)).encode()).hexdigest()[:16]
"""Names what a vector's numbers mean; a model for other features has another."""


def _places(*kinds: str) -> tuple[int, ...]:
    return tuple(list(TAG_KINDS).index(kind) for kind in kinds)


_CUSTOMER_TAGS: Final = _places(
    "counters", "tempo", "sessions", "rfm", "carts", "channels", "prices", "habits", "traits"
)
_ITEM_TAGS: Final = _places("recent", "categories", "brands", "prices")
_BARGAIN_SHARE: Final = FEATURES.index("bargain_share")
_CLICK_ODDS, _ORDERS, _ORDER_MEAN = (
    FEATURES.index(name) for name in ("message_click_log_odds", "orders_log", "order_mean_log")
)
_VIEW, _SEARCH, _CART = (ACTIONS.index(action) for action in ("view", "search", "cart"))
_DELIVERED, _OPENED, _CLICKED = range(3)  # the first of `state.tagging.channels.KINDS`
_HOURS: Final = tuple((sin(hour * pi / 12), cos(hour * pi / 12)) for hour in range(24))
_MEMBER_RANKS: Final = {"bronze": 1.0, "silver": 2.0, "gold": 3.0, "platinum": 4.0, "diamond": 5.0}
_MINUTE_MS: Final = 60_000
_YEAR_MS: Final = 365 * DAY_MS
_MOST: Final = 1e6


def customer_features(profile: Profile, now_ms: int) -> list[float]:
    """The part of the vector that is the customer's and the moment's.

    Counts are smoothed towards what is usual, so that a customer of whom little is known looks
    average and not extreme.
    """
    tags: list[Any] = profile.tags(_CUSTOMER_TAGS)
    counters, tempo, sessions, rfm, carts, channels, prices, habits, traits = tags
    lifetime = counters.lifetime
    views, carted = lifetime[_VIEW], lifetime[_CART]
    events, orders = tempo.events, rfm.orders_total
    idle_ms = now_ms - tempo.last_ms if events else _YEAR_MS
    known_days = now_ms // DAY_MS - tempo.first_ms // DAY_MS + 1 if events else 1
    delivered = opened = clicked = 0
    for counts in channels.counts.values():
        delivered += counts[_DELIVERED]
        opened += counts[_OPENED]
        clicked += counts[_CLICKED]
    abandoned = carts.abandoned_total
    hour = now_ms // HOUR_MS
    hours, habit = habits.hours, 0.0
    if hours:
        habit = log((hours[hour % 24] * 24 + 24) / (sum(hours) + 24))
    bought, viewed = prices.mean("purchase"), prices.mean("view")
    sine, cosine = _HOURS[hour % 24]
    return [
        _log(events),
        _share(tempo.active_days, known_days),
        _log(tempo.streak),
        _log(idle_ms / _MINUTE_MS),
        _log(sessions.events),
        _share(carted + 0.5, views + carted + 5),
        _share(orders + 0.2, views + orders + 10),
        _share(lifetime[_SEARCH] + 0.5, events + 5),
        _log(orders),
        _log((now_ms - rfm.last_ms if orders else _YEAR_MS) / DAY_MS),
        _log(rfm.amount_total / rfm.priced_total) if rfm.priced_total else 0.0,
        _share(rfm.refunds_total, orders + 5),
        _log(len(carts.open)),
        _share(abandoned + 1, abandoned + carts.bought_total + 2),
        _log(delivered),
        _log_ratio(clicked + 0.5, max(0, delivered - clicked) + 9.5),
        _share(opened + 1, delivered + 4),
        _share(prices.bargains + 1, prices.compared + 4),
        _log_ratio(bought, viewed) if bought and viewed else 0.0,
        _member_rank(traits.get("member_level")),
        habit,
        sine,
        cosine,
        1.0 if (now_ms // DAY_MS + 3) % 7 >= 5 else 0.0,  # the epoch began on a Thursday
    ]


def did_before(features: Sequence[float]) -> tuple[float, float, float]:
    """What a customer had done before, of their part of a vector or all of it.

    How readily they click (log-odds), orders (log), and money (orders by their mean, both logs).
    What comparisons take out of what the customer does next: all of it from before, so it cannot
    depend on how they are treated now.
    """
    orders = features[_ORDERS]
    return features[_CLICK_ODDS], orders, orders * features[_ORDER_MEAN]


def campaign_features(
    customer_part: list[float],
    profile: Profile,
    campaign: Campaign,
    item: str | None,
    category: str | None,
    brand: str | None,
    price: float | None,
    now_ms: int,
) -> list[float]:
    """The whole vector, in the order of `FEATURES`.

    ``customer_part`` comes from `customer_features` for the same profile and time; the rest says
    what the trigger is about.
    """
    tags: list[Any] = profile.tags(_ITEM_TAGS)
    recent, categories, brands, prices = tags
    discount = campaign.offer.discount_ratio
    trigger = campaign.trigger
    usual = prices.mean("view") if price else None
    return [
        *customer_part,
        discount,
        discount * customer_part[_BARGAIN_SHARE],
        _log(trigger.within_ms / HOUR_MS) if type(trigger) is AbsenceTrigger else 0.0,
        _log(recent.items.count(item)) if item is not None else 0.0,
        _part(categories.weights, category),
        _part(brands.weights, brand),
        _log(price) if price else 0.0,
        _log_ratio(price, usual) if price and usual else 0.0,
        *_bucket(campaign.id),
    ]


@lru_cache(maxsize=1_024)
def _member_rank(level: str | None) -> float:
    """Where a level stands among the usual names, or the number that it ends in, up to 8."""
    if not level:
        return 0.0
    name = level.casefold()
    if name in _MEMBER_RANKS:
        return _MEMBER_RANKS[name]
    digits = name[len(name.rstrip("0123456789")) :]
    return min(8.0, float(digits)) if digits else 0.0


@lru_cache(maxsize=16_384)
def _bucket(campaign_id: str) -> tuple[float, ...]:
    """Which of `BUCKETS` a campaign falls into: a hash that no restart changes, one-hot."""
    place = xxh3_64_intdigest(campaign_id.encode()) % BUCKETS
    return tuple(1.0 if bucket == place else 0.0 for bucket in range(BUCKETS))


def _log(amount: float) -> float:
    """log(1 + amount), of what lies between 0 and a million."""
    return log1p(amount if amount < _MOST else _MOST) if amount > 0 else 0.0


def _log_ratio(part: float, other: float) -> float:
    """log(part / other) of two positive numbers, kept within ± 6."""
    logarithm = log(part) - log(other)  # their ratio could underflow
    return logarithm if -6.0 < logarithm < 6.0 else 6.0 if logarithm > 0 else -6.0


def _share(part: float, whole: float) -> float:
    """``part`` of a positive ``whole``, at most 1."""
    return part / whole if part < whole else 1.0


def _part(weights: dict[str, float], name: str | None) -> float:
    """The share of a name in all weights; they fade alike, so time has no say in it."""
    weight = weights.get(name) if name is not None else None
    return weight / sum(weights.values()) if weight else 0.0
