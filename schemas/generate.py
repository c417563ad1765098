"""``python -m schemas.generate``: write what is made from the contracts.

The JSON Schema of each to ``schemas/json/``, and the table of gates and reasons.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.audit import AuditRecord
from schemas.campaign_file import CampaignFile
from schemas.change import Change
from schemas.control import ControlRecord
from schemas.deadletter import DeadLetter
from schemas.decision import Decision
from schemas.effect import EffectRecord
from schemas.event import BehaviorEvent
from schemas.experiment_file import ExperimentFile
from schemas.learning import Example, Reward
from schemas.outcome import Outcome
from schemas.policy_file import PolicyFile
from schemas.profile import Profile
from schemas.reasons import markdown

CONTRACTS: Final[dict[str, Any]] = {
    "audit": AuditRecord,
    "behavior-event": BehaviorEvent,
    "campaign-file": CampaignFile | PolicyFile | ExperimentFile,
    "change": Change,
    "control": ControlRecord,
    "dead-letter": DeadLetter,
    "decision": Decision,
    "effect": EffectRecord,
    "example": Example,
    "outcome": Outcome,
    "profile": Profile,
    "reward": Reward,
}
"""Name of each schema file → the contract that it describes."""

REASONS_FILE: Final = Path(__file__).parent / "reasons.md"
FOLDER: Final = Path(__file__).parent / "json"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema_of(name: str) -> str:
    """The JSON Schema of a contract, as the text of its file."""
    schema = {"$schema": DIALECT, "title": name, **msgspec.json.schema(CONTRACTS[name])}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for name in CONTRACTS:
        (FOLDER / f"{name}.schema.json").write_text(schema_of(name), encoding="utf-8")
    REASONS_FILE.write_text(markdown(), encoding="utf-8")


if __name__ == "__main__":
    main()
