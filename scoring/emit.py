"""What a step wants published; the shell encodes and sends it."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct


class Emit(NamedTuple):
    """One record to publish."""

    topic: str
    key: str
    record: Struct


class Step(NamedTuple):
    """What came of one input: its end (`schemas.audit.OUTCOMES`), why, and what to publish."""

    end: str
    reason: str
    emits: list[Emit]
