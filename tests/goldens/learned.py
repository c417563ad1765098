"""What was learned of a campaign, as bytes kept for each version of its layout.

As for `tests.goldens.customer`: released files are never written again; before a release::

    python -m tests.goldens.learned
"""

from __future__ import annotations

from pathlib import Path

from schemas.learning_rules import CampaignRules, Learning
from state.arm import Credit
from state.learned import VERSION, Learned, Told
from state.mix import Mix

FOLDER = Path(__file__).parent
_START_MS = 1_700_000_000_000


def golden_learned() -> Learned:
    """A campaign with rules, two arms, a mix that moved and what was told of it."""
    rules = CampaignRules("spring", ("push", "sms"), 1.0, 19.0, {"": Learning("bayes-ucb")})
    memory = Learned(rules)
    memory.arm("push", "").apply(Credit(_START_MS, 1.0))
    memory.arm("sms", "").apply(Credit(_START_MS + 1, 0.0))
    memory.mixes["|-1"] = Mix(("push", "sms"), (0.5, 0.5), _START_MS).moved((0.6, 0.4), _START_MS)
    memory.told["|-1"] = Told(_START_MS // 3_600_000, (0.5, 0.5))
    return memory


def path(version: int = VERSION) -> Path:
    """The golden file of a version."""
    return FOLDER / f"learned.v{version}.bin"


if __name__ == "__main__":
    path().write_bytes(golden_learned().encode())
