"""The trainers. A new one is one file and one line here; the contract suite finds it."""

from __future__ import annotations

from typing import Final

from jobs.trainers import ctr
from jobs.trainers.base import Trainer

TRAINERS: Final[dict[str, Trainer]] = {
    "ctr": ctr.fit,
}
"""Name, which is also the model's id on the control topic → trainer."""
