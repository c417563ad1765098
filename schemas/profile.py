"""What is known of a customer, as the stream publishes it for the views."""

from __future__ import annotations

from msgspec import Struct

from schemas.event import SCHEMA_VERSION


class Profile(Struct, frozen=True):
    """Topic ``beckon.profiles.v1`` (compacted), keyed by customer.

    ``snapshot`` is the customer's state, the bytes that `state.customer` reads, as base64: the
    stream writes a customer in the time it takes to append an event, and readers unfold the
    dimensions. ``event_ms`` is the newest event time in it and ``revision`` counts what was
    accepted; a view keeps the greater pair. Facts whose sequence number is above ``since`` are
    new in this record.
    """

    user_id: str
    event_ms: int
    revision: int
    since: int
    snapshot: bytes
    schema_version: int = SCHEMA_VERSION
