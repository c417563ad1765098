"""Inputs that no producer should send, each with the end that it must come to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from schemas.control import AbsenceTrigger, Campaign, control_key
from schemas.model import Model
from schemas.topics import EVENTS, OUTCOMES
from schemas.wire import encode
from scoring.features import FEATURES
from scoring.onnx_export import model_record

DAY_MS = 86_400_000
NEAR_1_MB = 990_000
"""Clients and brokers refuse a message of more than a million bytes unless told otherwise."""


class BadInput(NamedTuple):
    """A record to send; the stream must end it as ``end`` for ``reason``."""

    name: str
    value: bytes | None
    reason: str
    topic: str = EVENTS
    end: str = "dead"


class BadControl(NamedTuple):
    """A control record to send, which must become a dead letter for ``reason`` and no more."""

    name: str
    key: str
    value: bytes
    reason: str


def bad_inputs(name: str) -> list[BadInput]:
    """At least one of each kind; ``name`` makes their ids differ from those of other calls."""
    now_ms = int(time.time() * 1_000)
    serial = iter(range(1_000))

    def event(**changes: Any) -> dict[str, Any]:
        fields = {
            "event_id": f"{name}-{next(serial)}",
            "user_id": name,
            "action": "view",
            "ts": now_ms,
            **changes,
        }
        return {key: value for key, value in fields.items() if value is not ...}

    def raw(**changes: Any) -> bytes:
        return json.dumps(event(**changes)).encode()

    def outcome(**changes: Any) -> bytes:
        fields = {"outcome_id": f"{name}-{next(serial)}", "user_id": name, "ts": now_ms, **changes}
        return json.dumps(fields).encode()

    whole = raw()
    return [
        BadInput("cut in the middle", whole[: len(whole) // 2], "broken_json"),
        BadInput("no JSON", b"user=ann&action=view", "broken_json"),
        BadInput("something after the object", whole + b"}", "broken_json"),
        BadInput("empty", b"", "broken_json"),
        BadInput("no value at all", None, "broken_json"),
        BadInput("every byte there is", bytes(range(256)), "broken_json"),
        BadInput("Latin-1", raw(brand="Citroen").replace(b"oe", b"o\xeb"), "broken_json"),
        BadInput("UTF-16", whole.decode().encode("utf-16"), "broken_json"),
        BadInput("half a surrogate pair", raw(brand="\ud800"), "broken_json"),
        BadInput("deep nesting", b'{"a":' * 60_000, "oversized"),
        BadInput("nesting deeper than a stack", raw(x=...)[:-1] + _nested(5_000), "broken_json"),
        BadInput("NaN", raw(price=float("nan")), "broken_json"),
        BadInput("Infinity", raw(price=float("inf")), "broken_json"),
        BadInput("a number beyond any float", whole[:-1] + b', "price": 1e999}', "wrong_type"),
        BadInput("an array", b"[" + whole + b"]", "wrong_type"),
        BadInput("no customer", raw(user_id=...), "wrong_type"),
        BadInput("no event id", raw(event_id=...), "wrong_type"),
        BadInput("a customer who is a number", raw(user_id=7), "wrong_type"),
        BadInput("a control character in user_id", raw(user_id="a\x1fb"), "wrong_type"),
        BadInput("a control character in event_id", raw(event_id="a\x00b"), "wrong_type"),
        BadInput("a price in words", raw(price="cheap"), "wrong_type"),
        BadInput("a negative quantity", raw(quantity=-1), "wrong_type"),
        BadInput("a huge quantity", raw(quantity=10**40), "wrong_type"),
        BadInput("an action in prose", raw(action="View Item!"), "wrong_type"),
        BadInput("an outcome as an action", raw(action="clicked"), "wrong_type"),
        BadInput("nearly 1 MB", raw(query="x" * NEAR_1_MB), "oversized"),
        BadInput("an unknown version", raw(schema_version=99), "unknown_version"),
        BadInput("year 3000", raw(ts=32_503_680_000_000), "future_timestamp"),
        BadInput("a time without a zone", raw(ts="2024-02-29T10:00:00"), "bad_timestamp"),
        BadInput("a day that was not", raw(ts="2023-02-29T10:00:00Z"), "bad_timestamp"),
        BadInput("seconds for milliseconds", raw(ts=now_ms // 1_000), "bad_timestamp"),
        BadInput("a valid event", whole, "", end="updated"),
        BadInput("the same event again", whole, "", end="duplicate"),
        BadInput("yesterday's event", raw(ts=now_ms - DAY_MS), "", end="late"),
        BadInput("an unknown kind", outcome(kind="liked"), "wrong_type", OUTCOMES),
        BadInput("a click on nothing", outcome(kind="clicked"), "wrong_type", OUTCOMES),
        BadInput(
            "a click on an unknown decision",
            outcome(kind="clicked", decision_id="d0"),
            "unknown_decision",
            OUTCOMES,
            "unmatched",
        ),
        BadInput("a negative value", outcome(kind="converted", value=-1), "wrong_type", OUTCOMES),
        BadInput("a refund of nothing", outcome(kind="refunded"), "wrong_type", OUTCOMES),
        BadInput(
            "a refund of an unknown order",
            outcome(kind="refunded", order_id="o0"),
            "unknown_order",
            OUTCOMES,
            "unmatched",
        ),
    ]


def bad_control() -> list[BadControl]:
    """Control records that must not go live."""
    return list(_bad_control())


def _bad_control() -> Iterator[BadControl]:
    updated_ms = int(time.time() * 1_000)
    model = model_record([0.01] * len(FEATURES), -3.0, "corrupt", updated_ms=updated_ms)
    corrupt = _changed(model, sha256="0" * 64)
    yield BadControl("a corrupt model", control_key(model), corrupt, "refused_model")
    unknown = _changed(model, feature_hash="0" * 16)
    yield BadControl("foreign features", control_key(model), unknown, "refused_model")
    campaign = Campaign("broken", 1, "Broken", AbsenceTrigger(("cart",), ("x",), 1), ("push",))
    invalid = _changed(campaign, channels=["pigeon"])
    yield BadControl("an invalid campaign", control_key(campaign), invalid, "refused_campaign")
    yield BadControl("no JSON", "policy/main", b"\xff{", "refused_control")


def _changed(record: Model | Campaign, **changes: Any) -> bytes:
    return json.dumps({**json.loads(encode(record)), **changes}).encode()


def _nested(depth: int) -> bytes:
    return b', "x": ' + b"[" * depth + b"]" * depth + b"}"
