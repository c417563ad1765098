"""The archive's tables: which topic fills each, its columns, its day and what makes a row unique.

The layout is ``<archive_dir>/<table>/day=YYYY-MM-DD/<first>-<last>.parquet``. The day is that of
event time in UTC, and of Kafka's time for an input that is dated later than it came. Each row keeps
where it lay (``topic_partition``, ``topic_offset``) and when Kafka took it in (``ingested_ms``).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa

from schemas import topics
from schemas.decision import Decision
from schemas.errors import InvalidRecord
from schemas.event import BehaviorEvent, Consent, Device, Location, Traits
from schemas.learning import Example, Reward
from schemas.topics import DAY_MS
from schemas.wire import decode_event, decode_outcome, instant_ms
from state.fact import masked

Row = dict[str, Any]

PLACE: Final = (
    pa.field("topic_partition", pa.int32(), nullable=False),
    pa.field("topic_offset", pa.int64(), nullable=False),
    pa.field("ingested_ms", pa.int64(), nullable=False),
)
"""Columns that every table begins with; partition -1 is history that never was on a topic."""

_TEXT, _WHOLE, _REAL, _YES = pa.string(), pa.int64(), pa.float64(), pa.bool_()


class ArchiveTable(NamedTuple):
    """One table. ``moment`` is the column of event time, ``key`` what a record is known by.

    ``row`` reads a record and its key, and raises `InvalidRecord` for one that its topic's contract
    refuses.
    """

    name: str
    topic: str
    schema: pa.Schema
    moment: str
    key: tuple[str, ...]
    row: Callable[[bytes | None, str], Row]


def _event_row(raw: bytes | None, _key: str) -> Row:
    return event_row(decode_event(raw or b""))


def event_row(event: BehaviorEvent) -> Row:
    """An event flattened, its phone, e-mail and name masked; what was searched for is left out."""
    where = event.location or Location(0.0, 0.0)
    held = event.device or Device()
    led = event.attribution
    agreed = event.consent or Consent()
    traits = masked(event.traits or Traits())
    located = event.location is not None
    return {
        "event_id": event.event_id,
        "user_id": event.user_id,
        "action": event.action,
        "ts": instant_ms(event.ts),
        "item_id": event.item_id,
        "item_category": event.item_category,
        "brand": event.brand,
        "price": event.price,
        "quantity": event.quantity,
        "currency": event.currency,
        "source": event.source,
        "lat": where.lat if located else None,
        "lon": where.lon if located else None,
        "location_region": where.region,
        "location_city": where.city,
        "device_type": held.type,
        "device_os": held.os,
        "device_app_version": held.app_version,
        "attribution_campaign_id": led.campaign_id if led else None,
        "attribution_decision_id": led.decision_id if led else None,
        "attribution_channel": led.channel if led else None,
        **{f"consent_{name}": getattr(agreed, name) for name in Consent.__struct_fields__},
        **{f"traits_{name}": getattr(traits, name) for name in Traits.__struct_fields__},
    }


def _outcome_row(raw: bytes | None, _key: str) -> Row:
    outcome = decode_outcome(raw or b"")
    return {**msgspec.structs.asdict(outcome), "ts": instant_ms(outcome.ts)}


def _control_row(raw: bytes | None, key: str) -> Row:
    return {"key": key, "kind": key.partition("/")[0], "value": raw}


def _reader(contract: type[msgspec.Struct]) -> Callable[[bytes | None, str], Row]:
    decode = msgspec.json.Decoder(contract).decode

    def row(raw: bytes | None, _key: str = "") -> Row:
        try:
            return msgspec.to_builtins(decode(raw or b""))  # type: ignore[no-any-return]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRecord("wrong_type", str(error)) from None

    return row


def _decision_row(raw: bytes | None, key: str) -> Row:
    row = _read_decision(raw, key)
    offer = row.pop("offer")
    row["trigger_ingested_ms"] = row.pop("ingested_ms")
    row.update({f"offer_{name}": value for name, value in offer.items()})
    return row


_read_decision: Final = _reader(Decision)

_NUMBERS: Final = {
    "birth_year": _WHOLE,
    "member_until_ms": _WHOLE,
    "payment_due_ms": _WHOLE,
    "signup_ms": _WHOLE,
    "churn_risk": _REAL,
    "best_hour": _WHOLE,
    "gender_confidence": _REAL,
    "region_confidence": _REAL,
    "spending_confidence": _REAL,
    "clv": _REAL,
}


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([*PLACE, *(pa.field(name, kind) for name, kind in columns.items())])


EVENTS: Final = ArchiveTable(
    "events",
    topics.EVENTS,
    _schema(
        event_id=_TEXT,
        user_id=_TEXT,
        action=_TEXT,
        ts=_WHOLE,
        item_id=_TEXT,
        item_category=_TEXT,
        brand=_TEXT,
        price=_REAL,
        quantity=_WHOLE,
        currency=_TEXT,
        source=_TEXT,
        lat=_REAL,
        lon=_REAL,
        location_region=_TEXT,
        location_city=_TEXT,
        device_type=_TEXT,
        device_os=_TEXT,
        device_app_version=_TEXT,
        attribution_campaign_id=_TEXT,
        attribution_decision_id=_TEXT,
        attribution_channel=_TEXT,
        **{f"consent_{name}": _YES for name in Consent.__struct_fields__},
        **{f"traits_{name}": _NUMBERS.get(name, _TEXT) for name in Traits.__struct_fields__},
    ),
    "ts",
    ("user_id", "event_id"),
    _event_row,
)
OUTCOMES: Final = ArchiveTable(
    "outcomes",
    topics.OUTCOMES,
    _schema(
        outcome_id=_TEXT,
        user_id=_TEXT,
        kind=_TEXT,
        ts=_WHOLE,
        decision_id=_TEXT,
        campaign_id=_TEXT,
        channel=_TEXT,
        value=_REAL,
        order_id=_TEXT,
    ),
    "ts",
    ("user_id", "outcome_id"),
    _outcome_row,
)
DECISIONS: Final = ArchiveTable(
    "decisions",
    topics.DECISIONS,
    _schema(
        decision_id=_TEXT,
        status=_TEXT,
        user_id=_TEXT,
        campaign_id=_TEXT,
        campaign_version=_WHOLE,
        trigger=_TEXT,
        trigger_event_id=_TEXT,
        channel=_TEXT,
        propensity=_REAL,
        score=_REAL,
        decided_at_ms=_WHOLE,
        trigger_ingested_ms=_WHOLE,
        expires_at_ms=_WHOLE,
        model_version=_TEXT,
        feature_hash=_TEXT,
        policy_version=_WHOLE,
        posterior_version=_WHOLE,
        offer_type=_TEXT,
        offer_discount_ratio=_REAL,
        offer_valid_days=_WHOLE,
        reason=_TEXT,
        item_id=_TEXT,
        item_category=_TEXT,
        feature_age_ms=_WHOLE,
        degraded=pa.list_(_TEXT),
        value=_REAL,
        because=pa.list_(_TEXT),
        deferred_ms=_WHOLE,
        cost_micros=_WHOLE,
        variant=_TEXT,
        case=_WHOLE,
    ),
    "decided_at_ms",
    ("decision_id",),
    _decision_row,
)
EXAMPLES: Final = ArchiveTable(
    "examples",
    topics.EXAMPLES,
    _schema(
        decision_id=_TEXT,
        user_id=_TEXT,
        campaign_id=_TEXT,
        channel=_TEXT,
        features=pa.list_(_REAL),
        feature_hash=_TEXT,
        score=_REAL,
        propensity=_REAL,
        model_version=_TEXT,
        decided_at_ms=_WHOLE,
        holdout=_YES,
        channels=pa.list_(_TEXT),
        variant=_TEXT,
        case=_WHOLE,
        shadow_version=_TEXT,
        shadow_score=_REAL,
    ),
    "decided_at_ms",
    ("decision_id",),
    _reader(Example),
)
REWARDS: Final = ArchiveTable(
    "rewards",
    topics.REWARDS,
    _schema(
        decision_id=_TEXT,
        user_id=_TEXT,
        campaign_id=_TEXT,
        channel=_TEXT,
        kind=_TEXT,
        reward=_REAL,
        ts=_WHOLE,
        value=_REAL,
        outcome_id=_TEXT,
        order_id=_TEXT,
        share=_REAL,
        orders=_WHOLE,
        order_value=_REAL,
        holdout=_YES,
        exposed_ms=_WHOLE,
        variant=_TEXT,
        case=_WHOLE,
    ),
    "ts",
    ("decision_id", "kind", "outcome_id", "order_id"),
    _reader(Reward),
)
CONTROL: Final = ArchiveTable(
    "control",
    topics.CONTROL,
    _schema(key=_TEXT, kind=_TEXT, value=pa.binary()),
    "ingested_ms",
    ("topic_partition", "topic_offset"),
    _control_row,
)
"""Every control record as it came, for what was in force at any time; no value withdraws a key."""

IDENTITY: Final = ArchiveTable(
    "identity",
    "",
    _schema(user_id=_TEXT, ours=_YES, party=_TEXT, kind=_TEXT, digest=_TEXT, ts=_WHOLE),
    "ts",
    ("user_id", "party", "kind", "digest"),
    lambda _raw, _key: {},
)
"""By what imported customers can be known again (`jobs.archive.identity`); it is on no topic."""

TABLES: Final[dict[str, ArchiveTable]] = {
    table.name: table
    for table in (EVENTS, OUTCOMES, DECISIONS, EXAMPLES, REWARDS, CONTROL, IDENTITY)
}
"""Every table, by its name. Who is whom comes last: an erasure needs it until all else is done."""

BY_TOPIC: Final[dict[str, ArchiveTable]] = {
    table.topic: table for table in TABLES.values() if table.topic
}


def day_of(moment_ms: int, ingested_ms: int | None = None) -> date:
    """The day of a row, in UTC; a date later than Kafka's own time is not believed."""
    if ingested_ms is not None:
        moment_ms = min(moment_ms, ingested_ms)
    return datetime.fromtimestamp(moment_ms / 1_000, UTC).date()


def starts_ms(day: date) -> int:
    """The first millisecond of a day."""
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY_MS
