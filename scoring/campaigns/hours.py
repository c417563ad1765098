"""Hours trigger: a lower price in the hours when few come."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from schemas.control import Campaign, Forecast
from schemas.triggers import HoursTrigger, Span
from scoring.campaigns.base import Seen, Spoken, Watch, names, resting
from state.book import Armed
from state.customer import Customer

if TYPE_CHECKING:
    from scoring.world import World

_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = timedelta(days=1)


class HoursWatch(Watch):
    """Fires at one of ``actions`` in the hours of a lower price; they end the reason to speak.

    What is sold before ``lasts_days`` are over needs no lower price.
    """

    __slots__ = ("_forecast", "_lasts_days", "_quietest", "_spans", "_weekdays", "_zone")

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        super().__init__(key, specs)
        trigger = specs[0].trigger
        assert isinstance(trigger, HoursTrigger)
        self.actions = names(trigger.actions)
        self._spans: Final = trigger.spans
        self._weekdays: Final = frozenset(trigger.weekdays or _WEEKDAYS)
        self._zone: Final = ZoneInfo(trigger.zone)
        self._forecast: Final = trigger.forecast
        self._quietest: Final = trigger.quietest
        self._lasts_days: Final = trigger.lasts_days

    @classmethod
    def pattern(cls, trigger: HoursTrigger) -> tuple[object, ...]:
        """Actions and hours, and what sells by itself."""
        hours = (trigger.spans, trigger.weekdays, trigger.zone)
        return trigger.actions, hours, trigger.forecast, trigger.quietest, trigger.lasts_days

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Whoever is not resting, in those hours."""
        fact, book = seen.fact, seen.customer.book
        ready = [spec for spec in self.specs if not resting(spec, fact.ts, book)]
        if not ready:
            return ()
        until_ms = self._open_until_ms(fact.ts, seen.world)
        if until_ms is None or self._sells_anyhow(fact.item, seen.world):
            return ()
        return [(spec, seen.trigger(until_ms=until_ms)) for spec in ready]

    def still(
        self, spec: Campaign, pending: Armed, now_ms: int, customer: Customer, world: World
    ) -> Armed | None:
        """Nothing is left once the hours are over, or the item sells by itself."""
        if self._sells_anyhow(pending.item, world):
            return None
        return super().still(spec, pending, now_ms, customer, world)

    def _sells_anyhow(self, item: str | None, world: World) -> bool:
        if self._lasts_days is None or item is None:
            return False
        left = world.days_left(item)
        return left is not None and left <= self._lasts_days

    def _open_until_ms(self, ts: int, world: World) -> int | None:
        """When the hours end that this moment lies in; None when it lies in none."""
        if self._forecast is None:
            spans, zone = self._spans, self._zone
        else:
            forecast = world.forecasts.get(self._forecast)
            if forecast is None:
                return None
            zone = ZoneInfo(forecast.zone)
            local = datetime.fromtimestamp(ts / 1_000, zone)
            spans = quiet_spans(forecast, local.weekday(), self._quietest)
        local = datetime.fromtimestamp(ts / 1_000, zone)
        for span in spans:
            # A span over midnight that is open now may have begun today or yesterday.
            for begun in (local, local - _DAY) if span.end <= span.start else (local,):
                if _WEEKDAYS[begun.weekday()] not in self._weekdays:
                    continue
                opens = _moment_ms(begun, span.start, zone)
                closes = _moment_ms(
                    begun if span.end > span.start else begun + _DAY, span.end, zone
                )
                if opens <= ts < closes:
                    return closes
        return None


def quiet_spans(forecast: Forecast, weekday: int, quietest: int) -> tuple[Span, ...]:
    """The hours of a day with the fewest visitors; those with none at all are taken for closed."""
    day = forecast.visitors[24 * weekday : 24 * weekday + 24]
    opened = sorted((visitors, hour) for hour, visitors in enumerate(day) if visitors > 0)
    return tuple(Span(60 * hour, 60 * hour + 60) for _, hour in opened[:quietest])


def _moment_ms(day: datetime, minute: int, zone: ZoneInfo) -> int:
    """UTC milliseconds of a minute of a local day; one that a clock change skips is the next."""
    midnight = datetime(day.year, day.month, day.day)
    local = (midnight + timedelta(minutes=minute)).replace(tzinfo=zone)
    return round(local.astimezone(UTC).timestamp() * 1_000)
