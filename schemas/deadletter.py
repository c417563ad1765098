"""Records that could not be used, kept with the reason."""

from __future__ import annotations

from msgspec import Struct

from schemas.event import SCHEMA_VERSION

REASONS: dict[str, str] = {
    "broken_json": "the payload is not JSON, or not UTF-8",
    "wrong_type": "a field is missing, of the wrong type or out of its range",
    "unknown_version": "schema_version is not one that this release reads",
    "oversized": "the payload is larger than the contract allows",
    "bad_timestamp": "ts is not a time, or lies before the year 2000",
    "future_timestamp": "ts lies further ahead of the broker's clock than the policy tolerates",
    "refused_campaign": "a campaign record that cannot run",
    "refused_model": "a model that failed its verification",
    "refused_control": "any other control record that cannot be used",
}
"""Every reason with its meaning; the README and the ledger print from here."""


class DeadLetter(Struct, frozen=True):
    """Topic ``beckon.dead-letters.v1``, keyed by source coordinates.

    ``payload`` is the start of the raw bytes, base64, cut at 4 KiB; ``sha256`` is of all of them.
    """

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    sha256: str
    size_bytes: int
    payload: str
    ingested_ms: int
    schema_version: int = SCHEMA_VERSION
