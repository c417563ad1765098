"""Examples and rewards that tests of the archive put into it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from jobs.archive.tables import EXAMPLES, REWARDS, Row, starts_ms
from schemas.learning import Example, Reward
from schemas.topics import DAY_MS
from schemas.wire import encode
from scoring.features import FEATURE_HASH, FEATURES

AT = starts_ms(date(2026, 3, 2))


def example(name: str, at_ms: int, **fields: Any) -> Example:
    return Example(
        **{
            "decision_id": name,
            "user_id": f"u-{name}",
            "campaign_id": "on-cart",
            "channel": "sms",
            "features": [float(len(name))] * len(FEATURES),
            "feature_hash": FEATURE_HASH,
            "score": 0.25,
            "propensity": 0.5,
            "model_version": "prior",
            "decided_at_ms": at_ms,
            "channels": ("sms", "push"),
            **fields,
        }
    )


def reward(name: str, kind: str, ts: int, **fields: Any) -> Reward:
    return Reward(name, f"u-{name}", "on-cart", "sms", kind, 0.0, ts, **fields)  # type: ignore[arg-type]


def stored(*records: Example | Reward) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {"examples": [], "rewards": []}
    for record in records:
        table = EXAMPLES if isinstance(record, Example) else REWARDS
        found[table.name].append(table.row(encode(record), ""))
    return found


def history(count: int) -> Iterator[Example | Reward]:
    """Examples over four days; a third clicks at once, a third expires a day later."""
    for number in range(count):
        at_ms = AT + number * 4 * DAY_MS // count
        yield example(f"d{number:04}", at_ms, campaign_id=f"c{number % 3}")
        if number % 3 == number % 7 % 3:
            yield reward(f"d{number:04}", "clicked", at_ms + 1_000)
        elif number % 5:
            yield reward(f"d{number:04}", "expired", at_ms + DAY_MS)
