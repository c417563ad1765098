"""The eleven topics: who writes them, by what key, how they are kept.

`asyncapi.yaml` says the same to people and tools; a test keeps the two equal.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

EVENTS: Final = "beckon.events.v1"
OUTCOMES: Final = "beckon.outcomes.v1"
CONTROL: Final = "beckon.control.v1"
DECISIONS: Final = "beckon.decisions.v1"
PROFILES: Final = "beckon.profiles.v1"
DEAD_LETTERS: Final = "beckon.dead-letters.v1"
EXAMPLES: Final = "beckon.examples.v1"
REWARDS: Final = "beckon.rewards.v1"
AUDIT: Final = "beckon.audit.v1"
CHANGES: Final = "beckon.changes.v1"
EFFECTS: Final = "beckon.effects.v1"

DAY_MS: Final = 86_400_000


class Topic(Struct, frozen=True):
    """One topic. ``retention_ms`` None keeps for ever."""

    name: str
    key: str
    cleanup: Literal["delete", "compact"]
    retention_ms: int | None
    single_partition: bool = False


TOPICS: Final[tuple[Topic, ...]] = (
    Topic(EVENTS, "user_id (any key is accepted)", "delete", 7 * DAY_MS),
    Topic(OUTCOMES, "user_id (any key is accepted)", "delete", 7 * DAY_MS),
    Topic(CONTROL, "<kind>/<id>", "compact", None, single_partition=True),
    Topic(DECISIONS, "user_id", "delete", 7 * DAY_MS),
    Topic(PROFILES, "user_id", "compact", None),
    Topic(DEAD_LETTERS, "<topic>/<partition>/<offset>", "delete", 30 * DAY_MS),
    Topic(EXAMPLES, "decision_id", "delete", 30 * DAY_MS),
    Topic(REWARDS, "<campaign>/<channel>", "delete", 30 * DAY_MS),
    Topic(AUDIT, "shard, or user_id for candidates", "delete", 7 * DAY_MS),
    Topic(CHANGES, "<kind>/<id>", "delete", None, single_partition=True),
    Topic(EFFECTS, "<campaign>/<channel>/<segment>/<hour>, or experiment/<id>", "compact", None),
)

INPUTS: Final = (EVENTS, OUTCOMES)
OUTPUTS: Final = (CONTROL, DECISIONS, PROFILES, DEAD_LETTERS, EXAMPLES, REWARDS, AUDIT)
"""What the stream writes; what people change besides goes to `CONTROL` and `CHANGES`, and what
campaigns brought to `EFFECTS`."""
