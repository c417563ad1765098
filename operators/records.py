"""What crosses between Flink and the core as text: records in, outputs out.

A record is ``topic ␟ partition ␟ offset ␟ Kafka time in ms ␟ payload`` and an output is
``topic ␟ key ␟ value`` (␟ is U+001F). Payloads and values are bytes carried as ISO-8859-1 text,
which is how the JVM hands them over without touching them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

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


def output(topic: str, key: str, value: bytes) -> str:
    """An output."""
    return f"{topic}{SEPARATOR}{key}{SEPARATOR}{value.decode('latin-1')}"
