"""For each kind of campaign a story that sets it off, and what takes its reason away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas import triggers
from schemas.control import (
    Campaign,
    CatalogueItem,
    ControlRecord,
    Forecast,
    ItemList,
    ItemSales,
    Policy,
    QuietHours,
    Shop,
)
from schemas.triggers import Point, Span
from state.clock import TICK_GRACE_MS
from tests.builders import DAY, HOUR, MINUTE, policy
from tests.harness import NOON_MS, Harness, consenting, event

MORNING_MS = NOON_MS + 10 * HOUR
"""After the quiet hours that `night` sets; `NOON_MS` lies within them, at 22:13 UTC."""

DAWN_MS = 9 * HOUR + 40 * MINUTE
"""Just before the quiet hours end, in milliseconds after `NOON_MS`."""

Told = tuple[int, dict[str, Any]]
"""Milliseconds after `NOON_MS`, and the fields of an event."""

OSLO = {"lat": 59.9110, "lon": 10.7500}
BERGEN = {"lat": 60.3900, "lon": 5.3200}


@dataclass(frozen=True)
class Story:
    """What is told of ann, and what it leads to.

    The campaign wants to speak at the last of ``told``, or ``wait_ms`` after `NOON_MS`. One of
    ``undone`` or ``changed`` takes the reason away; where both are empty nothing does, but that
    it is over ``until_ms`` after `NOON_MS`.
    """

    trigger: triggers.Trigger
    told: tuple[Told, ...]
    wait_ms: int = 0
    undone: tuple[Told, ...] = ()
    records: tuple[ControlRecord, ...] = ()
    changed: tuple[ControlRecord, ...] = ()
    until_ms: int = DAY

    def campaign(self, **fields: Any) -> Campaign:
        """The campaign of the story."""
        named: dict[str, Any] = {"id": "told", "version": 1, "name": "Told", "cooldown_ms": 0}
        return Campaign(
            **{**named, "trigger": self.trigger, "channels": ("push", "email"), **fields}
        )

    def stream(self, rules: Policy | None = None, **fields: Any) -> Harness:
        """A stream in which the campaign is in force, and the customer can be spoken to."""
        stream = Harness([rules or day(), *self.records, self.campaign(**fields)])
        stream.send(consenting(ts=NOON_MS + self.told[0][0] - MINUTE))
        return stream

    def tell(self, stream: Harness, **sending: Any) -> None:
        """Tell the story up to when the campaign wants to speak."""
        stream.send(*events(self.told), **sending)
        if self.wait_ms:
            let_pass(stream, self.wait_ms)


def events(told: tuple[Told, ...]) -> list[dict[str, Any]]:
    """The events of a story; their ids say where in time they stand."""
    return [event(ts=NOON_MS + at_ms, event_id=f"told-{at_ms}", **fields) for at_ms, fields in told]


def day(**fields: Any) -> Policy:
    """No quiet hours, and no caps to speak of."""
    return policy(cap_sends=64, **fields)


def night(**fields: Any) -> Policy:
    """As `day`, but messages wait from 22:00 to 08:00."""
    return day(quiet_hours=QuietHours("22:00", "08:00"), **fields)


def let_pass(stream: Harness, after_noon_ms: int) -> None:
    """Let time go on to so long after `NOON_MS`: the wall clock runs ahead of it by the bound."""
    patience_ms = TICK_GRACE_MS + stream.decider.world.policy.lateness_ms
    stream.tick(NOON_MS + after_noon_ms + patience_ms)


def did(action: str, **fields: Any) -> dict[str, Any]:
    """The fields of an event."""
    return {"action": action, **fields}


def item(stock: int, sold_out: str = "i1") -> CatalogueItem:
    """An item of the catalogue; the newer record is that of the lower stock."""
    return CatalogueItem(sold_out, stock=stock, updated_ms=1_000 - stock)


STORIES: dict[str, Story] = {
    "event": Story(
        triggers.EventTrigger(("cart",), unless=("purchase",)),
        ((0, did("cart", item_id="i1")),),
        undone=((HOUR, did("purchase", item_id="i1")),),
    ),
    "absence": Story(
        triggers.AbsenceTrigger(("cart",), ("purchase",), 30 * MINUTE),
        ((0, did("cart", item_id="i1")),),
        30 * MINUTE,
        ((HOUR, did("purchase", item_id="i1")),),
    ),
    "count in a window": Story(
        triggers.CountTrigger(("view",), 3, HOUR),
        tuple((n * MINUTE, did("view")) for n in range(3)),
    ),
    "count of all time": Story(
        triggers.CountTrigger(("*",), 5),
        tuple((n * MINUTE, did("view")) for n in range(4)),
    ),
    "silence": Story(
        triggers.SilenceTrigger(("purchase",), HOUR),
        ((-HOUR + MINUTE, did("purchase")),),
        MINUTE,
        ((DAWN_MS, did("purchase")),),
    ),
    "seasoned": Story(
        triggers.SeasonedTrigger(("favourite",), DAY),
        ((-2 * DAY, did("favourite")), (0, did("favourite"))),
    ),
    "segment entered": Story(
        triggers.SegmentTrigger("cart_count_24h >= 1 and purchase_count_24h = 0"),
        ((-MINUTE, did("view")), (0, did("cart"))),
        undone=((HOUR, did("purchase")),),
    ),
    "segment left": Story(
        triggers.SegmentTrigger("tempo_idle_s < 30m", "exit"),
        ((0, did("view")),),
        30 * MINUTE,
        ((DAWN_MS, did("view")),),
    ),
    "coupon": Story(
        triggers.CouponTrigger(("view",)),
        ((0, did("view")),),
        undone=((HOUR, did("purchase")),),
    ),
    "fence entered": Story(
        triggers.FenceTrigger(centre=Point(**OSLO)),
        ((-MINUTE, did("view", location=BERGEN)), (0, did("view", location=OSLO))),
        undone=((HOUR, did("view", location=BERGEN)),),
    ),
    "fence of a chain": Story(
        triggers.FenceTrigger("dwell", chain="kiwi", dwell_ms=10 * MINUTE),
        tuple((n * 5 * MINUTE, did("view", location=OSLO)) for n in range(3)),
        undone=((HOUR, did("view", location=BERGEN)),),
        records=(Shop("s1", "kiwi", **OSLO), Shop("s2", "kiwi", **BERGEN)),
    ),
    "hours": Story(
        triggers.HoursTrigger(("view",), (Span(22 * 60, 9 * 60),)),
        ((0, did("view")),),
    ),
    "hours of a forecast": Story(
        triggers.HoursTrigger(("view",), forecast="shop", quietest=12),
        ((0, did("view")),),
        records=(Forecast("shop", (*(9.0,) * 12, *(1.0,) * 12) * 7),),
        until_ms=2 * HOUR,
    ),
    "hours for what lasts": Story(
        triggers.HoursTrigger(("view",), (Span(22 * 60, 9 * 60),), lasts_days=2.0),
        ((0, did("view", item_id="i1")),),
        records=(item(50), ItemSales("i1", 20.0)),
        changed=(ItemSales("i1", 25.0, updated_ms=1),),
    ),
    "stock": Story(
        triggers.StockTrigger(("view",), at_most=3),
        ((0, did("view", item_id="i1")),),
        records=(item(3),),
        changed=(item(0),),
    ),
    "stock by what the night expects": Story(
        triggers.StockTrigger(("view",), cover_days=1.0),
        ((0, did("view", item_id="i1")),),
        records=(item(50), ItemSales("i1", 50.0)),
        changed=(ItemSales("i1", 49.0, updated_ms=1),),
    ),
    "membership": Story(
        triggers.MembershipTrigger(),
        ((0, did("login", traits={"member_until_ms": NOON_MS + 15 * DAY + HOUR})),),
        HOUR,
        ((2 * HOUR, did("login", traits={"member_until_ms": NOON_MS + 380 * DAY})),),
    ),
    "overdue": Story(
        triggers.OverdueTrigger(),
        ((0, did("login", traits={"payment_due_ms": NOON_MS + 30 * DAY + HOUR})),),
        HOUR,
        ((2 * HOUR, did("payment")),),
    ),
    "slot": Story(
        triggers.SlotTrigger(("view",), "alike", by="item", size=2),
        ((0, did("view", item_id="i9")),),
        records=(ItemList("alike", ("i9", "i1"), of="i9"), item(7)),
        changed=(item(0),),
    ),
}
