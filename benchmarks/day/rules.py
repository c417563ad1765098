"""The rules of the day: one policy with every kind of limit, and campaigns that strain each.

Customers would get far more than they may: everything here wants to speak often, and most of it
must be refused. The channels' shares are fixed, so that no decision hangs on when something learned
was heard; `benchmarks.prove_learning` is about that. Attribution windows are longer than the day.
"""

from __future__ import annotations

from typing import Final

from schemas.budget import Allowance, Budget
from schemas.control import Campaign, Cap, ControlRecord, Policy, QuietHours
from schemas.learning_rules import Learning
from schemas.outcome import CHANNELS
from schemas.triggers import DAY_MS, AbsenceTrigger, EventTrigger, SegmentTrigger

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
COSTS: Final = {"sms": 0.05, "push": 0.002, "email": 0.004}
MILLION: Final = 1_000_000

POLICY: Final = Policy(
    lateness_ms=MINUTE_MS,
    holdout_ratio=0.05,
    quiet_hours=QuietHours("22:00", "08:00"),
    default_zone="UTC",
    channel_cost=dict(COSTS),
    learning=Learning(fixed=dict.fromkeys(CHANNELS, 1.0)),
    caps=(
        Cap(3, DAY_MS),
        Cap(2, per="day"),
        Cap(1, 12 * HOUR_MS, channel="sms"),
        Cap(1, per="day", category="promo"),
    ),
    updated_ms=1,
)


def campaigns(events: int) -> list[Campaign]:
    """The campaigns; the budgets of two are a fraction of what ``events`` events would ask for."""
    of_a_million = events / MILLION
    return [
        _campaign(
            "cart-left",
            AbsenceTrigger(("cart",), ("purchase",), 30 * MINUTE_MS),
            category="reminder",
            cooldown_ms=6 * HOUR_MS,
            holdout_ratio=0.05,
        ),
        _campaign(
            "third-view",
            EventTrigger(("view",), at_least=3, within_ms=HOUR_MS, same="category"),
            category="promo",
            quiet_hours="drop",
            cooldown_ms=3 * HOUR_MS,
        ),
        _campaign(
            "favourite",
            EventTrigger(("favourite",), unless=("purchase",)),
            category="promo",
            cooldown_ms=HOUR_MS,
        ),
        _campaign(
            "paid-search",
            EventTrigger(("search",)),
            category="paid",
            audience="trait_member_level = gold",
            cooldown_ms=0,
            budget=Budget(
                total=round(40 * of_a_million, 3),
                per_day=round(30 * of_a_million, 3),
                channels={"sms": Allowance(total=round(20 * of_a_million, 3))},
                zone="Europe/Berlin",
            ),
        ),
        _campaign(
            "owed",
            EventTrigger(("share",)),
            message="transactional",
            channels=("push",),
            cooldown_ms=0,
            budget=Budget(total=round(8 * of_a_million, 3), pace="none"),
        ),
        _campaign(
            "looked-and-left",
            SegmentTrigger("view_count_1h >= 4", "exit"),
            channels=("email", "push"),
            category="reminder",
            cooldown_ms=12 * HOUR_MS,
        ),
    ]


def control(events: int) -> list[ControlRecord]:
    """All that is in force during the day."""
    return [POLICY, *campaigns(events)]


def _campaign(name: str, trigger: object, **fields: object) -> Campaign:
    given = {
        "id": name,
        "version": 1,
        "name": name.replace("-", " ").capitalize(),
        "trigger": trigger,
        "channels": CHANNELS,
        "attribution_window_ms": 2 * DAY_MS,
        "expires_after_ms": DAY_MS,
        "updated_ms": 1,
        **fields,
    }
    return Campaign(**given)  # type: ignore[arg-type]
