"""Compares what the views show with what the oracle works out from the raw events."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from redis import Redis

from jobs.settings import Settings
from jobs.views import open_view
from tests import oracle

CHUNK = 2_000


def by_customer(events: Iterable[oracle.Event]) -> dict[str, list[oracle.Event]]:
    """Customer → their events, each once."""
    seen: set[str] = set()
    found: dict[str, list[oracle.Event]] = defaultdict(list)
    for event in events:
        if event["event_id"] not in seen:
            seen.add(event["event_id"])
            found[event["user_id"]].append(event)
    return found


def differences_in_redis(
    settings: Settings, histories: Mapping[str, Sequence[oracle.Event]]
) -> list[str]:
    """``customer.dimension: shown, not expected`` for every dimension that differs."""
    redis = Redis.from_url(settings.redis)
    found: list[str] = []
    users = iter(histories)
    while chunk := list(islice(users, CHUNK)):
        values = redis.mget([f"user:{user}:profile" for user in chunk])
        for user, value in zip(chunk, values, strict=True):
            if value is None:
                found.append(f"{user}: not in Redis")
                continue
            document = json.loads(value)
            found += _differences(
                user, histories[user], document["event_ms"], document["dimensions"]
            )
    redis.close()
    return found


def differences_in_hbase(
    settings: Settings, histories: Mapping[str, Sequence[oracle.Event]]
) -> list[str]:
    """As in Redis, and customers whose history is not their events, newest first."""
    view = open_view(settings, "hbase")
    found: list[str] = []
    for user, events in histories.items():
        shown = view.read(user)
        if shown is None:
            found.append(f"{user}: not in HBase")
            continue
        found += _differences(user, events, shown.event_ms, shown.dimensions)
        kept = [
            (entry.ts, entry.body["action"], entry.body.get("item"))
            for entry in view.history(user, 10_000)
            if entry.kind == "fact"
        ]
        happened = [(oracle.time_of(e), e["action"], e.get("item_id")) for e in events]
        if sorted(kept) != sorted(happened):
            found.append(f"{user}: history of {len(kept)} facts, not of {len(happened)}")
        if kept != sorted(kept, key=lambda row: -row[0]):
            found.append(f"{user}: history is not newest first")
    view.close()
    return found


def _differences(
    user: str, events: Sequence[oracle.Event], event_ms: int, shown: Mapping[str, Any]
) -> list[str]:
    newest_ms = max(map(oracle.time_of, events))
    if event_ms != newest_ms:
        return [f"{user}: as of {event_ms}, not {newest_ms}"]
    return [
        f"{user}.{name}: {shown.get(name)!r}, not {value!r}"
        for name, value in oracle.of_customer(events, newest_ms).items()
        if shown.get(name) != value
    ]
