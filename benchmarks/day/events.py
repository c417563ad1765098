"""The events of the day: two zones, one of which changes its clocks, and people who change minds.

The day is the 25th of October 2026 in Berlin, 25 hours long. Half the customers live there, half in
Shanghai, and a few where there is no such zone. It comes in four parts of equal size; nothing
happens in the minute before a part ends, so that what the senders answer in between lies before
everything that is decided afterwards. Equal numbers give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.workload import Message, Workload, visits
from operators.shard import shard_of

BEGINS_MS: Final = 1_792_879_200_000
"""2026-10-24T22:00Z: midnight in Berlin, still by summer time."""
SPAN_MS: Final = 25 * 3_600_000
PARTS: Final = 4
GAP_MS: Final = 61_000
ZONES: Final = ("Europe/Berlin", "Asia/Shanghai")
NOWHERE: Final = "Mars/Olympus_Mons"
PER_CUSTOMER: Final = 20
"""Events of a customer, in the mean."""

_ACTIONS: Final = (
    ("view", 0.70),
    ("cart", 0.09),
    ("purchase", 0.05),
    ("search", 0.06),
    ("favourite", 0.05),
    ("share", 0.02),
    ("login", 0.03),
)
_REPEATED: Final = 0.01
_CATEGORIES: Final = 60


@dataclass(frozen=True)
class Part:
    """A part of the day: its messages, and the event time at which it is over."""

    messages: list[Message]
    ends_ms: int


def parts(seed: int, events: int) -> Iterator[Part]:
    """The parts of a day of about ``events`` events."""
    rng = np.random.default_rng(seed)
    customers = max(40, events // PER_CUSTOMER)
    customer, session, ts = visits(rng, Workload(seed, events, customers, BEGINS_MS, SPAN_MS))
    edges = BEGINS_MS + SPAN_MS * np.arange(1, PARTS + 1) // PARTS
    awake = (edges[np.searchsorted(edges, ts, side="right")] - ts) > GAP_MS
    customer, session, ts = customer[awake], session[awake], ts[awake]
    action = rng.choice(len(_ACTIONS), size=ts.size, p=[share for _, share in _ACTIONS])
    category = (customer * 2_654_435_761 + session) % _CATEGORIES
    first = np.zeros(ts.size, dtype=np.bool_)
    first[np.unique(customer, return_index=True)[1]] = True
    mind = np.where(rng.random(ts.size) < 0.004, rng.integers(1, 5, ts.size), 0)
    columns = (customer, action, ts, category, first, mind)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    messages = [_event(seed, place, *row) for place, row in enumerate(rows)]
    again = np.sort(rng.choice(ts.size, int(ts.size * _REPEATED), replace=False)).tolist()
    start = 0
    for edge in edges.tolist():
        stop = int(np.searchsorted(ts, edge))
        repeats = {place for place in again if start <= place < stop}
        yield Part(_with_repeats(messages, start, stop, repeats), edge)
        start = stop


def beats(at_ms: int, name: str, partitions: int, shards: int = 4) -> list[tuple[int, Message]]:
    """An event at ``at_ms`` for each shard and partition, with its partition.

    A shard's clock waits for its slowest partition. With these every clock gets as far as it may.
    """
    users: dict[str, str] = {}
    number = 0
    while len(users) < shards:
        user = f"beat-{number}"
        users.setdefault(shard_of(user, shards), user)
        number += 1
    return [
        (
            partition,
            (
                user.encode(),
                f'{{"event_id":"{name}-{shard}-{partition}","user_id":"{user}",'
                f'"action":"beat","ts":{at_ms}}}'.encode(),
            ),
        )
        for shard, user in users.items()
        for partition in range(partitions)
    ]


def _with_repeats(
    messages: Sequence[Message], start: int, stop: int, repeats: set[int]
) -> list[Message]:
    """A part's messages; some come again a few messages later."""
    found: list[Message] = []
    waiting: list[Message] = []
    for place in range(start, stop):
        found.append(messages[place])
        if place in repeats:
            waiting.append(messages[place])
        if waiting and place % 7 == 0:
            found.append(waiting.pop(0))
    return found + waiting


def _event(
    seed: int,
    place: int,
    customer: int,
    action: int,
    ts: int,
    category: int,
    first: bool,
    mind: int,
) -> Message:
    user = f"c{customer:06d}"
    name = _ACTIONS[action][0]
    text = f'{{"event_id":"{seed:04x}-{place:010x}","user_id":"{user}","action":"{name}","ts":{ts}'
    if name in ("view", "cart", "purchase", "favourite"):
        text += (
            f',"item_id":"item-{category:02d}-{place % 5}"'
            f',"item_category":"category-{category:02d}"'
            f',"price":{20 + place % 80}.5,"quantity":1'
        )
    if first:
        text += _introduction(customer)
    elif mind:
        text += (
            ',"consent":{"marketing":false}',
            ',"consent":{"marketing":true}',
            ',"consent":{"push":false,"sms":false}',
            ',"consent":{"push":true,"email":true}',
        )[mind - 1]
    return user.encode(), f"{text}}}".encode()


def _introduction(customer: int) -> str:
    """Who they are, and what they agree to; four in five to marketing."""
    luck = customer * 0x9E3779B1 & 0xFFFF
    zone = NOWHERE if luck % 50 == 0 else ZONES[customer % 2]
    level = "gold" if luck >> 4 & 3 == 0 else "silver"
    agreed = {
        "marketing": luck % 5 != 0,
        "sms": luck >> 6 & 1 == 1,
        "push": luck >> 7 & 3 != 0,
        "email": luck >> 9 & 3 != 0,
    }
    words = ",".join(f'"{what}":{str(given).lower()}' for what, given in agreed.items())
    return f',"consent":{{{words}}},"traits":{{"zone":"{zone}","member_level":"{level}"}}'
