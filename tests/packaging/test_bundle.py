"""The bundle that workers run is the wheel's content, and enough to import an operator from."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from jobs.bundle import build_bundle


def test_the_same_content_makes_the_same_bundle(tmp_path: Path) -> None:
    first, second = build_bundle(tmp_path / "a"), build_bundle(tmp_path / "b")

    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.path.name == f"{first.marker}.zip"


def test_it_holds_the_packages_of_the_wheel_whole_and_its_marker(tmp_path: Path) -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    files = (path for package in packages for path in Path(package).rglob("*") if path.is_file())
    bundle = build_bundle(tmp_path)

    with zipfile.ZipFile(bundle.path) as packed:
        names = set(packed.namelist())
    assert names == {
        *(path.as_posix() for path in files if "__pycache__" not in path.parts),
        bundle.marker,
    }


def test_a_worker_elsewhere_imports_the_operators_from_the_bundle_alone(tmp_path: Path) -> None:
    bundle, home = build_bundle(tmp_path), tmp_path / "unpacked"
    with zipfile.ZipFile(bundle.path) as packed:
        packed.extractall(home)

    done = subprocess.run(
        [sys.executable, "-c", "import operators.shard as s; print(s.__file__)"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
    )

    assert done.stdout.strip() == str(home / "operators" / "shard.py"), done.stderr
