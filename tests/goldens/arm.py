"""The arm whose bytes are kept as a golden file for each version of the arm's layout.

As for `tests.goldens.customer`: released files are never written again; before a release::

    python -m tests.goldens.arm
"""

from __future__ import annotations

from pathlib import Path

from state.arm import VERSION, Arm, Credit

FOLDER = Path(__file__).parent
HALF_LIFE_MS = 14 * 86_400_000
_START_MS = 1_700_000_000_000


def golden_arm() -> Arm:
    """An arm with a click, zeros, a reversal, contexts of two lengths and some decay."""
    arm = Arm()
    refunded = Credit(_START_MS + 7_200_000, 1.0, (0.5, -1.0))
    for credit in (
        Credit(_START_MS, 1.0),
        Credit(_START_MS + 60_000, 0.0, (0.5,)),
        refunded,
        Credit(_START_MS + 3_600_000, 0.0, (-0.25, 1.0)),
    ):
        arm.apply(credit, HALF_LIFE_MS)
    arm.reverse(refunded, HALF_LIFE_MS)
    arm.apply(refunded._replace(reward=0.0), HALF_LIFE_MS)
    return arm


def path(version: int = VERSION) -> Path:
    """The golden file of a version."""
    return FOLDER / f"arm.v{version}.bin"


if __name__ == "__main__":
    path().write_bytes(golden_arm().encode())
