"""Customers as the archive tells of them: facts of rows, so the night sees what the stream saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from schemas.event import BehaviorEvent, Consent, Device, Location, Traits
from state.fact import Fact, fact_of_event, id64

_CONSENT: Final = Consent.__struct_fields__
_TRAITS: Final = Traits.__struct_fields__
_PLAIN: Final = ("item_id", "item_category", "brand", "price", "quantity")


def facts_of(
    events: Iterable[Path], outcomes: Iterable[Path], users: Iterable[str]
) -> dict[str, list[Fact]]:
    """The facts of these customers in the stream's order: event time, then the hash of the id."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = pa.array(list(users))
    found: dict[str, dict[tuple[int, int], Fact]] = defaultdict(dict)
    for paths, read in ((events, event_fact), (outcomes, outcome_fact)):
        for path in paths:
            table = pq.read_table(path, partitioning=None)
            for row in table.filter(pc.is_in(table["user_id"], wanted)).to_pylist():
                fact = read(row)
                found[row["user_id"]].setdefault((fact.ts, fact.id64), fact)
    return {user: [facts[key] for key in sorted(facts)] for user, facts in found.items()}


def event_fact(row: dict[str, Any]) -> Fact:
    """The fact in an archived event."""
    consent = {name: row[f"consent_{name}"] for name in _CONSENT}
    traits = {name: row.get(f"traits_{name}") for name in _TRAITS}
    device = (row["device_type"], row["device_os"], row["device_app_version"])
    event = BehaviorEvent(
        event_id=row["event_id"],
        user_id=row["user_id"],
        action=row["action"],
        ts=row["ts"],
        consent=Consent(**consent) if any(v is not None for v in consent.values()) else None,
        traits=Traits(**traits) if any(v is not None for v in traits.values()) else None,
        device=Device(*device) if any(device) else None,
        location=None
        if row["lat"] is None
        else Location(row["lat"], row["lon"], None, row["location_region"], row["location_city"]),
        **{name: row[name] for name in _PLAIN},
    )
    return fact_of_event(event, row["ts"], id64(row["event_id"]), 0)


def outcome_fact(row: dict[str, Any]) -> Fact:
    """The fact in an archived outcome."""
    return Fact(
        row["ts"],
        id64(row["outcome_id"]),
        0,
        row["kind"],
        channel=row["channel"],
        campaign=row["campaign_id"],
        value=row["value"],
    )
