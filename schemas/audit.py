"""The proof: what became of every input, and why each decision was or was not made."""

from __future__ import annotations

from msgspec import Struct

from schemas.event import SCHEMA_VERSION

OUTCOMES: dict[str, str] = {
    "updated": "the customer's tags changed; no campaign wanted to speak",
    "late": "as updated, but later than the bound, so no campaign was asked",
    "decided": "at least one decision was published",
    "suppressed": "a campaign wanted to speak and a gate said no",
    "duplicate": "the id was seen before; nothing changed",
    "unmatched": "an outcome whose decision is unknown or closed; its tags were counted",
    "dead": "refused, with a dead letter",
}
"""Every end an input record can come to, with its meaning."""


class Outcomes(Struct, frozen=True, tag_field="kind", tag="outcomes"):
    """One micro-batch's inputs and their ends: rows of ``[topic, partition, offset, end, reason]``.

    ``topic`` is its index in ``topics``. Exactly one row for each input record.
    """

    shard: str
    topics: list[str]
    rows: list[tuple[int, int, int, str, str]]
    schema_version: int = SCHEMA_VERSION


class Candidate(Struct, frozen=True, tag_field="kind", tag="candidate"):
    """Why a campaign that was triggered for a customer did, or did not, speak."""

    decision_id: str
    user_id: str
    campaign_id: str
    campaign_version: int
    trigger_event_id: str
    ts: int
    end: str
    gate: str
    score: float
    model_version: str
    policy_version: int
    schema_version: int = SCHEMA_VERSION


AuditRecord = Outcomes | Candidate
