"""Real inputs that lie beside the repository, where there are any; tests skip without them."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "shared" / "data"


def rows_of(name: str) -> list[dict[str, str]]:
    """The rows of a CSV file, compressed, with a header."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"needs {path}")
    with gzip.open(path, "rt", newline="") as lines:
        return list(csv.DictReader(lines))
