"""What goes into the core and what comes out of it: records as text, outputs as their parts.

A record is ``topic ␟ partition ␟ offset ␟ Kafka time in ms ␟ payload``, and what stays inside the
job a message ``kind ␟ key ␟ value`` (␟ is U+001F). Payloads and values are then bytes carried as
ISO-8859-1 text, which is how the JVM hands them over without touching them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

SEPARATOR: Final = "\x1f"

Record = tuple[str, int, int, int, str]
"""Topic, partition, offset, Kafka time in ms, payload."""


def in_order(records: Sequence[str]) -> list[Record]:
    """Parse, and restore the order of each partition, on which equal decisions rest."""
    parsed = []
    for record in records:
        topic, partition, offset, ingested_ms, payload = record.split(SEPARATOR, 4)
        parsed.append((topic, int(partition), int(offset), int(ingested_ms), payload))
    parsed.sort()
    return parsed


class Output(NamedTuple):
    """What the core sends to a topic, or to `learn` or `grant`; without a value a tombstone."""

    topic: str
    key: str
    value: bytes = b""

    def message(self) -> str:
        """As it stays inside the job."""
        return f"{self.topic}{SEPARATOR}{self.key}{SEPARATOR}{self.value.decode('latin-1')}"
