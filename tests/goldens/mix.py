"""The mix whose bytes are kept as a golden file for each version of the mix's layout.

As for `tests.goldens.customer`: released files are never written again; before a release::

    python -m tests.goldens.mix
"""

from __future__ import annotations

from pathlib import Path

from state.mix import VERSION, Mix

FOLDER = Path(__file__).parent


def golden_mix() -> Mix:
    """A mix that moved twice within the hour."""
    mix = Mix(("email", "push"), (0.5, 0.5), 1_700_000_000_000)
    return mix.moved((0.375, 0.625), 1_700_000_900_000).moved((0.4375, 0.5625), 1_700_002_000_000)


def path(version: int = VERSION) -> Path:
    """The golden file of a version."""
    return FOLDER / f"mix.v{version}.bin"


if __name__ == "__main__":
    path().write_bytes(golden_mix().encode())
