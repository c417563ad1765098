"""The learner in the stream on data that others have published figures of."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Final

from scoring.online import OnlineLogistic

PHISHING: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "phishing.csv.gz"
"""1 250 sites, nine features each; beside the repository where there is any."""


def accuracy(path: Path = PHISHING) -> float | None:
    """Of one pass, each example predicted before it is learned from; None without the data."""
    if not path.is_file():
        return None
    learner = OnlineLogistic(9)
    with gzip.open(path, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            label = int(row.pop("is_phishing"))
            learner.learn([float(value) for value in row.values()], label)
    return learner.progress.accuracy
