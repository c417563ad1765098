"""The segment of a customer whom the night has not seen yet: that of the nearest centre."""

from __future__ import annotations

from math import isfinite, log1p

from schemas.control import Segmentation
from schemas.errors import RefusedControl
from state.profile import Profile
from state.tagging.base import DAY_MS
from state.tagging.rfm import Rfm


def check_segmentation(record: Segmentation) -> None:
    """Refuse what distances cannot be measured by.

    Raises:
        RefusedControl: figures that are not one for each axis, or not finite.
    """
    width = len(record.axes)
    rows = {"mean": record.mean, "deviation": record.deviation}
    rows |= {f"centre of {each.name}": each.centre for each in record.centres}
    for name, row in rows.items():
        if len(row) != width or not all(map(isfinite, row)):
            raise RefusedControl(
                "refused_control", f"segmentation: {name} is {row}; want {width} finite numbers"
            )


def nearest(record: Segmentation, profile: Profile, now_ms: int) -> str | None:
    """The segment whose centre is nearest; None for who has bought nothing."""
    rfm = profile.tag(Rfm)
    if not rfm.orders_total:
        return None
    known = {
        "recency_days": max(0, now_ms - rfm.last_ms) / DAY_MS,
        "orders": float(rfm.orders_total),
        "money": rfm.amount_total,
    }
    point = [log1p(known[axis]) for axis in record.axes]
    best, name = float("inf"), None
    for each in record.centres:
        apart = sum(
            ((x - log1p(max(0.0, c))) / d) ** 2
            for x, c, d in zip(point, each.centre, record.deviation, strict=True)
        )
        if apart < best:
            best, name = apart, each.name
    return name
