"""Two checkouts are compared over the same events, and a difference in what they do is told."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CORE = ("benchmarks", "infra", "jobs", "operators", "schemas", "scoring", "state")


def compared(checkout: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.compare", str(checkout)]
    sizes = ["--events", "400", "--customers", "20", "--rounds", "1"]
    return subprocess.run([*command, *sizes], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_checkout_does_what_itself_does() -> None:
    done = compared(ROOT)
    assert done.returncode == 0, done.stderr
    assert "both published and kept the same" in done.stdout


def test_one_that_keeps_another_state_is_told(tmp_path: Path) -> None:
    for package in CORE:
        shutil.copytree(ROOT / package, tmp_path / package)
    changed = tmp_path / "state" / "customer.py"
    changed.write_text(changed.read_text().replace("TAIL_SOFT: Final = 16", "TAIL_SOFT: Final = 8"))
    done = compared(tmp_path)
    assert done.returncode == 1, done.stderr
    assert "DIFFER" in done.stdout
