"""The code that workers run: our packages in one zip, named after what is in it."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final, NamedTuple

from operators.shipping import PACKAGES

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


class Bundle(NamedTuple):
    """A built bundle; ``marker`` is the file in it by which a worker knows it."""

    path: Path
    marker: str


def build_bundle(folder: Path) -> Bundle:
    """Pack the packages as they are installed here; the same content gives the same file."""
    contents = {name: data for name, data in _contents()}
    digest = hashlib.sha256()
    for name, data in contents.items():
        digest.update(f"{name}\x00{len(data)}\x00".encode() + data)
    marker = f"beckon-{digest.hexdigest()[:16]}"
    path = folder / f"{marker}.zip"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in {**contents, marker: b""}.items():
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
        partial.replace(path)
    return Bundle(path, marker)


def _contents() -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        with as_file(files(package)) as root:
            for path in sorted(root.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    yield f"{package}/{path.relative_to(root).as_posix()}", path.read_bytes()
