"""How a record's fields are spelt in its file: ``cooldown_ms`` 86 400 000 is ``cooldown`` 1d."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from jobs.words import moment
from schemas.units import UNIT_MS

_WRITTEN: Final = {
    "pricing.response.conversion": "worth.conversion",
    "pricing.response.per_discount": "worth.odds_double_at",
    "pricing.response.per_bargain": "worth.bargainers_double_at",
    "pricing.order_value": "worth.order_value",
    "pricing.margin": "worth.margin",
    "pricing.least_margin": "worth.least_margin",
    "pricing.explore": "offer.explore",
    "pricing.choices": "offer.choose",
    "offer.valid_days": "offer.valid",
    "starts": "period.from",
    "ends": "period.until",
}
"""Where a field of the record is found in its file, when not under its own name."""

_LIKE_UNITS: Final = sorted(UNIT_MS.items(), key=lambda unit: -unit[1])


def field(steps: Iterable[str]) -> str:
    """A field of a record, step by step, as its file would name it: ``trigger.within``."""
    dotted = ".".join(
        step.removesuffix("_ms").removesuffix("_ratio").removesuffix("_m") for step in steps
    )
    for inner, outer in _WRITTEN.items():
        if dotted == inner or dotted.startswith(f"{inner}."):
            return outer + dotted.removeprefix(inner)
    return dotted


def quantity(name: str, value: Any) -> str:
    """A field's value as its file would write it; ``name`` is the field's own."""
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(name, value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(quantity(name, each) for each in value)}]"
    if isinstance(value, dict):
        if value.keys() == {"start", "end"} and isinstance(value["start"], int):
            return f"{_clock(value['start'])}-{_clock(value['end'])}"
        return f"{{{', '.join(f'{field([k])}: {quantity(k, v)}' for k, v in value.items())}}}"
    return str(value)


def _number(name: str, value: float) -> str:
    if name in ("starts_ms", "ends_ms"):
        return moment(round(value))
    if name.endswith("_ms"):
        unit, size = next((each for each in _LIKE_UNITS if value % each[1] == 0), ("ms", 1))
        return f"{value / size:.0f}{unit}" if value else "0"
    if name.endswith("_ratio") or name == "min_score":
        return f"{100 * value:.6g}%"
    if name.endswith("_m"):
        return f"{value / 1_000:g}km" if value >= 1_000 else f"{value:g}m"
    return f"{value:.12g}"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
