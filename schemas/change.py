"""What people changed: who published, paused or withdrew which campaign, when, and to what."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.control import Campaign, Policy
from schemas.event import SCHEMA_VERSION
from schemas.experiment import Experiment

Verb = Literal["new", "changed", "paused", "resumed", "withdrawn"]


class Change(Struct, frozen=True):
    """One change of a campaign, an experiment or the policy; ``key`` is that of the control record.

    ``after`` is the record from then on, None where it was withdrawn; ``version`` is its version,
    or the last one that it had. A campaign's versions go on rising when it comes back. ``reason``
    is there where a process made the change by itself.
    """

    key: str
    verb: Verb
    version: Annotated[int, Meta(ge=1)]
    at_ms: int
    after: Campaign | Policy | Experiment | None
    author: str = ""
    reason: str = ""
    schema_version: int = SCHEMA_VERSION
