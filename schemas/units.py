"""Quantities as people write them in campaign files: ``30m``, ``5%``, ``3km``, ``14:00-16:00``."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

Duration = Annotated[
    str,
    Meta(
        pattern=r"^[1-9][0-9]{0,8}(ms|s|m|h|d)$",
        description="a duration: a whole number and its unit (ms, s, m, h, d), such as 30m or 1d",
    ),
]
DurationOrNone = Annotated[
    Literal[0] | Duration, Meta(description="0 for none, or a duration such as 30m or 1d")
]
Percent = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,3}(\.[0-9]{1,6})?%$",
        description="a share in percent, such as 5% or 2.5%",
    ),
]
Distance = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,5}(\.[0-9]{1,3})?(m|km)$",
        description="a distance: a number and its unit (m, km), such as 500m or 3km",
    ),
]
Hours = Annotated[
    str,
    Meta(
        pattern=r"^([01]?[0-9]|2[0-3]):[0-5][0-9]-(([01]?[0-9]|2[0-3]):[0-5][0-9]|24:00)$",
        description="hours of the day in quotes, such as '14:00-16:00'",
    ),
]
Moment = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2})?$",
        description="a date, or a date and a time, such as 2026-11-01 or 2026-11-01 09:00",
    ),
]
Zone = Annotated[
    str, Meta(max_length=64, description="IANA time zone, such as UTC or Asia/Shanghai")
]
Conditions = Annotated[
    str | Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1)],
    Meta(description="a condition such as `price >= 100`, or a list of which all must hold"),
]

UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"(\d+)(ms|s|m|h|d)")


class Form(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """What is told apart by ``kind``; a field that it does not have is a mistake."""


def duration_ms(text: Literal[0] | str) -> int:
    """Milliseconds of a `Duration`: ``30m`` → 1 800 000."""
    if text == 0:
        return 0
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration")
    return int(found[1]) * UNIT_MS[found[2]]


def ratio(text: str) -> float:
    """The share that a `Percent` states: ``5%`` → 0.05."""
    return round(float(text.removesuffix("%")) / 100, 10)


def metres(text: str) -> float:
    """Metres of a `Distance`: ``3km`` → 3 000."""
    if text.endswith("km"):
        return round(float(text[:-2]) * 1_000, 3)
    return float(text[:-1])


def minutes(text: str) -> tuple[int, int]:
    """Start and end of `Hours` in minutes after midnight: ``14:00-16:30`` → 840, 990."""
    start, end = (
        int(hour) * 60 + int(minute) for hour, minute in (t.split(":") for t in text.split("-"))
    )
    return start, end


def moment_ms(text: str, zone: str, *, ends: bool = False) -> int:
    """UTC ms of a `Moment` by the clock of a zone; of a date alone its midnight.

    ``ends`` is for the last moment of something: a date alone then stands for its whole day.

    Raises:
        ValueError: there is no such date, or no such zone.
    """
    from zoneinfo import ZoneInfo  # not above: it looks at the machine, which contracts do not

    at = datetime.fromisoformat(text)
    if ends and len(text) == len("2026-11-01"):
        at += timedelta(days=1)
    try:
        where = ZoneInfo(zone)
    except (KeyError, OSError):
        raise ValueError(f"{zone!r} is no IANA time zone") from None
    return round(at.replace(tzinfo=where).timestamp() * 1_000)


def all_of(conditions: str | tuple[str, ...]) -> str:
    """One condition of a list of which all must hold."""
    if isinstance(conditions, str):
        return conditions
    return conditions[0] if len(conditions) == 1 else " and ".join(f"({c})" for c in conditions)
