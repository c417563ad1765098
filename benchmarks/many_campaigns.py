"""What a thousand campaigns cost: `python -m benchmarks.many_campaigns`.

The core by itself, without Kafka or Flink, takes the benchmark's events with ten campaigns in force
and with a thousand, in turn, and the last line is JSON: CPU per event of each, and their ratio. The
ten are one of each of ten kinds and speak of everything the shop has. The thousand are those ten,
and others that differ as a shop's do: by category, brand, shop, threshold, patience and segment. A
quarter of the events say where the customer is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.control import control
from benchmarks.core import Harness, batches
from benchmarks.workload import Message, Workload
from schemas import triggers
from schemas.control import Campaign, ControlRecord, ItemList, Shop, control_key
from schemas.outcome import CHANNELS
from schemas.topics import DECISIONS
from schemas.triggers import DAY_MS, Point, Span
from schemas.wire import encode

FEW: Final = 10
MANY: Final = 1_000
LIMIT: Final = 1.5
"""CPU per event with `MANY` campaigns must not be more than so many times that with `FEW`."""

_MINUTE_MS: Final = 60_000
_CATEGORIES: Final = 120
_BRANDS: Final = 90
_CHAINS: Final = 12
_SHOPS: Final = 400
_LOCATED: Final = 4
"""One event in so many says where the customer is."""

Made = tuple[triggers.Trigger, str]
"""A trigger, and the condition on the event that sets it off."""


def population(count: int) -> list[ControlRecord]:
    """Campaigns of every kind in turn, and the shops and lists that they speak of.

    The first of each kind has no condition on the event, and so speaks as often as all others.
    """
    makers = _MAKERS
    campaigns: list[ControlRecord] = []
    for number in range(count):
        variant, place = divmod(number, len(makers))
        trigger, narrow = makers[place](variant)
        when = narrow if variant else ""
        campaigns.append(
            Campaign(
                id=f"many-{number:04d}",
                version=1,
                name=f"One of many, {number}",
                trigger=trigger,
                when=when,
                channels=CHANNELS,
                cooldown_ms=DAY_MS,
            )
        )
    shops = [Shop(f"shop-{n}", f"chain-{n % _CHAINS}", *_somewhere(n * 7)) for n in range(_SHOPS)]
    items = tuple(f"item-000-{n:04d}" for n in range(6))
    return [*campaigns, *shops, ItemList("alike", items)]


def measure(events: int = 60_000, customers: int = 15_000, rounds: int = 3) -> dict[str, Any]:
    """CPU per event with few campaigns and with many, the best of some rounds of each.

    Returns ``us_per_event_10``, ``us_per_event_1000``, ``cpu_ratio_1000_campaigns``, the decisions
    of each and whether the limit holds (``ok``).
    """
    now_ms = time.time_ns() // 1_000_000
    workload = Workload(7, events, customers, now_ms - 7_800_000, 7_200_000)
    messages = [_located(place, message) for place, message in enumerate(workload.messages())]
    work = list(batches(messages, now_ms, 20))
    best: dict[int, float] = {}
    decisions: dict[int, int] = {}
    for _ in range(rounds):
        for count in (FEW, MANY):
            rules = [(key, value) for key, value in control() if not key.startswith("campaign/")]
            rules += [(control_key(record), encode(record)) for record in population(count)]
            outcome = Harness(rules).run(work)
            best[count] = min(best.get(count, float("inf")), outcome.us_per_event)
            decisions[count] = outcome.counters[DECISIONS]
    ratio = best[MANY] / best[FEW]
    return {
        "events": events,
        "us_per_event_10": round(best[FEW], 2),
        "us_per_event_1000": round(best[MANY], 2),
        "decisions_10": decisions[FEW],
        "decisions_1000": decisions[MANY],
        "cpu_ratio_1000_campaigns": round(ratio, 3),
        "ok": ratio <= LIMIT,
    }


def _category(variant: int) -> str:
    return f"item_category = category-{variant % _CATEGORIES:03d}"


def _event(variant: int) -> Made:
    trigger = triggers.EventTrigger(("view",), 2 + variant % 3, same="category")
    return trigger, _category(variant)


def _absence(variant: int) -> Made:
    patience_ms = (20 + variant % 40) * _MINUTE_MS
    return triggers.AbsenceTrigger(("cart",), ("purchase",), patience_ms), _category(variant)


def _count(variant: int) -> Made:
    return triggers.CountTrigger(("*",), 20 + variant), ""


def _silence(variant: int) -> Made:
    return triggers.SilenceTrigger(("*",), (30 + variant) * DAY_MS), ""


def _seasoned(variant: int) -> Made:
    return triggers.SeasonedTrigger(("purchase",), (30 + variant) * DAY_MS), ""


def _segment(variant: int) -> Made:
    on: Any = "enter" if variant % 2 else "exit"
    return triggers.SegmentTrigger(f"rfm_monetary_30d >= {100 + 50 * variant}", on), ""


def _fence(variant: int) -> Made:
    if variant % 2:
        return triggers.FenceTrigger(chain=f"chain-{variant % _CHAINS}"), ""
    lat, lon = _somewhere(variant)
    return triggers.FenceTrigger("dwell", centre=Point(lat, lon)), ""


def _hours(variant: int) -> Made:
    spans = (Span(60 * (variant % 24), 60 * (variant % 24) + 60),)
    return triggers.HoursTrigger(("cart",), spans), f"brand = brand-{variant % _BRANDS:02d}"


def _stock(variant: int) -> Made:
    return triggers.StockTrigger(("view",), at_most=1 + variant % 20), _category(variant)


def _slot(variant: int) -> Made:
    return triggers.SlotTrigger(("favourite",), "alike"), _category(variant)


_MAKERS: Final[tuple[Callable[[int], Made], ...]] = (
    _event,
    _absence,
    _count,
    _silence,
    _seasoned,
    _segment,
    _fence,
    _hours,
    _stock,
    _slot,
)


def _somewhere(number: int) -> tuple[float, float]:
    """A place in a country of some hundred kilometres a side."""
    return 59.0 + number * 37 % 1_000 / 250, 8.0 + number * 91 % 1_000 / 200


def _located(place: int, message: Message) -> Message:
    if place % _LOCATED:
        return message
    key, value = message
    lat, lon = _somewhere(int(key[1:]))
    return key, value[:-1] + f',"location":{{"lat":{lat},"lon":{lon}}}}}'.encode()


def main() -> int:
    """Measure, and print; 1 when a thousand campaigns cost more than they may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--customers", type=int, default=15_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    found = measure(asked.events, asked.customers, asked.rounds)
    print(json.dumps(found))
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
