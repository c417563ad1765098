"""What the customer holds in their hand."""

from __future__ import annotations

from typing import Final

from msgspec import field

from state.fact import Fact
from state.tagging.base import Dimension, Tag, Value, ratio, seconds_since
from state.tagging.weights import heaviest

TYPES_LIMIT: Final = 4


class Devices(Tag):
    """The newest device by event time, and events by type; the `TYPES_LIMIT` most used are kept."""

    FIELD = "device"

    at_ms: int = 0
    type: str | None = None
    os: str | None = None
    app_version: str | None = None
    types: dict[str, int] = field(default_factory=dict)

    def apply(self, fact: Fact) -> None:
        """Take the fact's device in."""
        device = fact.device
        if device is None:
            return
        if fact.ts >= self.at_ms:
            self.at_ms = fact.ts
            self.type, self.os, self.app_version = device.type, device.os, device.app_version
        if device.type is not None:
            types = self.types
            types[device.type] = types.get(device.type, 0) + 1
            if len(types) > TYPES_LIMIT + 2:
                self.types = dict(heaviest(types, TYPES_LIMIT))

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """The newest device, and the type used most."""
        top = heaviest(self.types, 1)
        return {
            "device_type": self.type,
            "device_os": self.os,
            "device_app_version": self.app_version,
            "device_age_s": seconds_since(self.at_ms, now_ms),
            "device_types_count": min(TYPES_LIMIT, len(self.types)),
            "device_top_type": top[0][0] if top else None,
            "device_top_type_share": ratio(top[0][1], sum(self.types.values())) if top else None,
        }

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """The newest device, and the type used most."""
        return (
            Dimension("device_type", "str", "", "of the newest event that names a device"),
            Dimension("device_os", "str", "", "of the newest event that names a device"),
            Dimension("device_app_version", "str", "", "of the newest event that names a device"),
            Dimension("device_age_s", "float", "s", "time since that event"),
            Dimension("device_types_count", "int", "types", f"used, up to {TYPES_LIMIT}"),
            Dimension("device_top_type", "str", "", "used most often"),
            Dimension("device_top_type_share", "float", "ratio", "of the events with a type"),
        )
