"""A seeded shop: customers who come in sessions, as a producer's JSON would report them.

A workload is a few numbers; every process that needs its events makes them again from those, so
generator, oracle and contenders agree without handing a million payloads about. Customers are
skewed (the top one per cent cause a fifth of the traffic), a session stays with one category and
few items, and consent comes with a customer's first event, so that campaigns fire for a realistic
share of the events.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.shard import shard_of

Message = tuple[bytes, bytes]
"""Key and value of a Kafka record."""

SHARDS: Final = 256

SKEW: Final = 3
"""Customer = C·u³ for a uniform u: a share s of the customers causes s^(1/3) of the sessions."""

_MEAN_SESSION: Final = 6
_LONGEST_SESSION: Final = 20
_GAP_MS: Final = 15_000
_CATEGORIES: Final = 120
_ITEMS_LOOKED_AT: Final = 6
_ACTIONS: Final = (
    ("view", 0.765),
    ("search", 0.060),
    ("cart", 0.062),
    ("favourite", 0.040),
    ("purchase", 0.024),
    ("login", 0.025),
    ("cart_remove", 0.010),
    ("share", 0.010),
    ("refund", 0.004),
)
_PRICED: Final = frozenset({"view", "cart", "favourite", "purchase", "cart_remove", "refund"})
_CITIES: Final = ("Shanghai", "Chengdu", "Hangzhou", "Guangzhou", "Wuhan", "Harbin", "Kunming")
_DEVICES: Final = (
    '{"type":"phone","os":"android","app_version":"8.4.1"}',
    '{"type":"phone","os":"ios","app_version":"8.4.0"}',
    '{"type":"web","os":"windows"}',
)


@dataclass(frozen=True)
class Workload:
    """``events`` events of ``customers`` customers between ``start_ms`` and ``+ span_ms``.

    Customers that are ``known`` introduced themselves before (see `introductions`); the others do
    so with their first event. ``seed`` is also the prefix of the event ids.
    """

    seed: int
    events: int
    customers: int
    start_ms: int
    span_ms: int
    known: bool = False

    def messages(self) -> list[Message]:
        """All events in event-time order; equal workloads give equal bytes."""
        rng = np.random.default_rng(self.seed)
        customer, session, ts = visits(rng, self)
        action = rng.choice(len(_ACTIONS), size=self.events, p=[share for _, share in _ACTIONS])
        category = (customer * 2_654_435_761 + session) % _CATEGORIES
        item = rng.integers(0, _ITEMS_LOOKED_AT, self.events)
        cents = np.exp(rng.normal(8.7, 0.8, self.events)).astype(np.int64)
        introduces = np.zeros(self.events, dtype=np.bool_)
        if not self.known:
            introduces[np.unique(customer, return_index=True)[1]] = True
        columns = (customer, action, ts, category, item, cents, introduces)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        prefix = self.seed & 0xFFFFFFFF
        return [_event(prefix, place, *row) for place, row in enumerate(rows)]

    def introductions(self) -> Iterator[Message]:
        """One log-in for each customer in the hour before ``start_ms``, with consent and traits."""
        prefix = ~self.seed & 0xFFFFFFFF
        login = next(place for place, (name, _) in enumerate(_ACTIONS) if name == "login")
        first_ms = self.start_ms - 3_600_000
        for customer in range(self.customers):
            ts = first_ms + customer * 3_600_000 // self.customers
            yield _event(prefix, customer, customer, login, ts, 0, 0, 0, True)

    def closing(self, partitions: int) -> list[tuple[int, Message]]:
        """An event at the very end for each shard and Kafka partition, with its partition.

        A shard's clock waits for its slowest partition. After these every clock has reached the
        end of the workload's time, so that every contender has let the same waits run out.
        """
        prefix = self.seed & 0xFFFFFFFF
        last_ms = self.start_ms + self.span_ms
        users: dict[str, str] = {}
        number = 0
        while len(users) < SHARDS:
            user = f"closing-{number}"
            users.setdefault(shard_of(user, SHARDS), user)
            number += 1
        return [
            (
                partition,
                (
                    user.encode(),
                    f'{{"event_id":"{prefix:08x}-closing-{shard}-{partition}","user_id":"{user}",'
                    f'"action":"view","ts":{last_ms}}}'.encode(),
                ),
            )
            for shard, user in users.items()
            for partition in range(partitions)
        ]


def place_of(event_id: str) -> int:
    """The place in its workload of the event with this id."""
    return int(event_id[-12:], 16)


def visits(
    rng: np.random.Generator, workload: Workload
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Who comes when, in order of time: customer, number of the session, event time."""
    wanted = workload.events
    lengths = np.zeros(0, dtype=np.int64)
    while lengths.sum() < wanted:
        more = rng.geometric(1 / _MEAN_SESSION, math.ceil(wanted / _MEAN_SESSION))
        lengths = np.concatenate([lengths, np.minimum(more, _LONGEST_SESSION)])
    session = np.repeat(np.arange(len(lengths)), lengths)[:wanted]
    visitors = (workload.customers * rng.random(len(lengths)) ** SKEW).astype(np.int64)
    begins = rng.random(len(lengths)) * workload.span_ms
    within = np.cumsum(rng.exponential(_GAP_MS, wanted))
    firsts = np.concatenate([[0], np.flatnonzero(np.diff(session)) + 1])
    offset = begins[session] + within - within[firsts][session]
    ts = workload.start_ms + np.mod(offset, workload.span_ms).astype(np.int64)
    order = np.argsort(ts, kind="stable")
    return visitors[session][order], session[order], ts[order]


def _event(
    prefix: int,
    place: int,
    customer: int,
    action: int,
    ts: int,
    category: int,
    item: int,
    cents: int,
    introduces: bool,
) -> Message:
    name = _ACTIONS[action][0]
    user = f"u{customer:08d}"
    parts = [
        f'{{"event_id":"{prefix:08x}-0000-4000-8000-{place:012x}","user_id":"{user}",'
        f'"action":"{name}","ts":{ts},"source":"app","device":{_DEVICES[customer % 3]}'
    ]
    if name in _PRICED:
        parts.append(
            f',"item_id":"item-{category:03d}-{item:04d}","item_category":"category-{category:03d}"'
            f',"brand":"brand-{(category * 7 + item) % 90:02d}","price":{cents / 100}'
            ',"quantity":1,"currency":"CNY"'
        )
    elif name == "search":
        parts.append(f',"query":"gift for a {category} year old"')
    if introduces:
        parts.append(_introduction(customer))
    parts.append("}")
    return user.encode(), "".join(parts).encode()


def _introduction(customer: int) -> str:
    """Consent (seven in ten to marketing, most of them to two channels) and a few traits."""
    luck = customer * 0x9E3779B1 & 0xFFFF
    flags = {
        "marketing": luck % 10 < 7,
        "sms": luck >> 4 & 1 == 1,
        "push": luck >> 5 & 3 != 0,
        "email": luck >> 7 & 3 != 0,
    }
    consent = ",".join(f'"{name}":{str(given).lower()}' for name, given in flags.items())
    return (
        f',"consent":{{{consent}}},"traits":{{"city":"{_CITIES[luck % 7]}",'
        f'"birth_year":{1950 + luck % 55},"member_level":"{"silver" if luck & 8 else "gold"}"}}'
    )
