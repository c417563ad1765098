"""The customer whose bytes are kept as a golden file for each version of the state's layout.

``customer.v<VERSION>.bin`` is what `golden_customer` encoded to when the version was released and
``customer.v<VERSION>.json`` the dimensions that must be read from it for ever. Files of released
versions are never written again. While a version is not released yet, a deliberate change of what
is kept is recorded by::

    python -m tests.goldens.customer
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from state.book import Armed, Exposure, Order, Send, Touch
from state.customer import VERSION, Customer
from state.fact import Fact, id64
from tests.strategies import LATENESS_MS, fact_of, in_order

FOLDER = Path(__file__).parent
NOW_MS = 1_700_600_000_000

_START_MS = 1_700_000_000_000
_IN_TAIL = 4
_MINUTE = 60_000
_DAY = 86_400_000


def _facts() -> list[Fact]:
    """Three visits in six days in which everything happens once; outcomes among them."""

    def event(at_ms: int, action: str, **fields: Any) -> dict[str, Any]:
        return {"action": action, "ts": _START_MS + at_ms, **fields}

    def item(number: int) -> dict[str, Any]:
        return {
            "item_id": f"item-{number}",
            "item_category": ("shoes", "books", "toys")[number % 3],
            "brand": ("Ace", "Bolt", "Ćma")[number % 3],
            "price": 10.0 + number / 4,
        }

    consent = {"marketing": True, "sms": True, "push": True, "email": False}
    traits = {
        "gender": "f",
        "birth_year": 1990,
        "zone": "Europe/Oslo",
        "phone": "13812345678",
        "email": "jen.doe@shop.example",
        "member_until_ms": NOW_MS + 15 * _DAY,
    }
    home = {"lat": 59.9, "lon": 10.7, "city": "Oslo", "region": "Oslo"}
    device = {"type": "phone", "os": "Android 15", "app_version": "4.2"}
    records = [
        event(0, "login", consent=consent, traits=traits, location=home, device=device),
        *(event((1 + n) * _MINUTE, "view", **item(n % 7), device=device) for n in range(12)),
        event(14 * _MINUTE, "search", item_category="shoes", query="red shoes"),
        event(15 * _MINUTE, "cart", **item(1)),
        event(16 * _MINUTE, "cart", **item(2), quantity=2),
        event(17 * _MINUTE, "purchase", **item(1)),
        event(18 * _MINUTE, "cart_remove", item_id="item-9"),
        {"kind": "delivered", "decision_id": "d1", "channel": "push", "ts": _START_MS + _DAY},
        {"kind": "clicked", "decision_id": "d1", "channel": "push", "ts": _START_MS + _DAY + 9},
        event(_DAY + _MINUTE, "favourite", **item(5)),
        event(_DAY + 2 * _MINUTE, "share", **item(5)),
        event(_DAY + 3 * _MINUTE, "purchase", **item(5), quantity=3),
        {
            **{"kind": "converted", "decision_id": "d1", "channel": "push", "value": 33.75},
            "ts": _START_MS + _DAY + 4 * _MINUTE,
        },
        event(5 * _DAY, "refund", **item(5)),
        event(5 * _DAY + _MINUTE, "wishlist_opened"),
        {"kind": "unsubscribed", "channel": "sms", "ts": _START_MS + 6 * _DAY},
        event(6 * _DAY + _MINUTE, "view", **item(6)),
        event(6 * _DAY + 2 * _MINUTE, "cart", **item(6)),
    ]
    for number, record in enumerate(records):
        record["outcome_id" if "kind" in record else "event_id"] = f"golden-{number}"
        record["user_id"] = "golden"
    return in_order([fact_of(record) for record in records])


def golden_customer() -> Customer:
    """A customer with a settled base, facts in the tail and a book with an entry."""
    facts = _facts()
    customer = Customer()
    settled = len(facts) - _IN_TAIL
    for fact in facts[:settled]:
        customer.accept(fact)
    customer.settle(facts[settled - 1].ts + LATENESS_MS + 1, LATENESS_MS)
    for fact in facts[settled:]:
        customer.accept(fact)
    book, sent_ms = customer.book, _START_MS + 16 * _MINUTE
    book.record_spoken("view-cart", sent_ms)
    book.record_send(Send(sent_ms, sent_ms + _DAY, id64("d1"), "push", "general"))
    book.deferred["left"] = Armed(sent_ms + 9 * _DAY, "golden-15", sent_ms, sent_ms, "item-1")
    book.bounced["sms"] = 1
    book.exposures.append(
        Exposure("d1", "view-cart", "push", sent_ms, sent_ms + _DAY, ("clicked",), "2023-11-14", 9)
    )
    touch = Touch("d1", "view-cart", "push", sent_ms, False, 1.0, 33_750_000, 1, 33_750_000)
    book.remember_order(Order("order-1", sent_ms + 1, 34_750_000, "d1", [touch], 1_000_000))
    return customer


def path(suffix: str, version: int = VERSION) -> Path:
    """A golden file of a version."""
    return FOLDER / f"customer.v{version}.{suffix}"


def main() -> None:
    """Write the golden files of the present version."""
    data = golden_customer().encode()
    values = Customer.decode(data).profile().dimensions(NOW_MS)
    path("bin").write_bytes(data)
    path("json").write_bytes(msgspec.json.format(msgspec.json.encode(values)) + b"\n")
    print(f"{path('bin')}: {len(data)} bytes, {len(values)} dimensions")


if __name__ == "__main__":
    main()
