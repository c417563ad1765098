"""Jars by lock file: downloaded from a Maven repository, verified, cached.

A lock (``infra/stack/NAME.lock.json``) names each jar by Maven coordinates, size and SHA-256. Every
jar is verified each time it is used; one that does not match is fetched again, and refused when the
repository itself serves something else.
"""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from jobs.stack.errors import StackError

ATTEMPTS = 4
PARALLEL = 8
TIMEOUT_S = 30.0

Progress = Callable[[int], None]
"""Told of every chunk of bytes that arrived."""


class Jar(msgspec.Struct, frozen=True):
    """One jar as the lock states it."""

    coordinates: str
    size: int
    sha256: str

    @property
    def path(self) -> str:
        """Where Maven repositories keep it."""
        group, artifact, version, *classifier = self.coordinates.split(":")
        name = "-".join([artifact, version, *classifier])
        return f"{group.replace('.', '/')}/{artifact}/{version}/{name}.jar"


class Lock(msgspec.Struct, frozen=True):
    """All jars of one server."""

    jars: tuple[Jar, ...]


def read_lock(path: Path) -> Lock:
    """Read a lock file.

    Raises:
        StackError: it is missing or not a lock file.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Lock)
    except (OSError, msgspec.DecodeError) as error:
        raise StackError(f"{path} is no lock file of jars: {error}") from error


@dataclass(frozen=True)
class JarCache:
    """A folder of verified jars in front of a Maven repository."""

    folder: Path
    repository: str

    def fetch(self, lock: Lock, progress: Progress = lambda _: None) -> list[Path]:
        """The paths of all jars of a lock, downloading those that are missing or damaged.

        Raises:
            StackError: a jar cannot be had, or is not what the lock says.
        """
        with ThreadPoolExecutor(PARALLEL) as pool:
            return list(pool.map(lambda jar: self._one(jar, progress), lock.jars))

    def missing_bytes(self, lock: Lock) -> int:
        """What `fetch` would have to download, judged by file sizes."""
        return sum(jar.size for jar in lock.jars if not _has_size(self.folder / jar.path, jar.size))

    def _one(self, jar: Jar, progress: Progress) -> Path:
        target = self.folder / jar.path
        if _has_size(target, jar.size) and _sha256(target) == jar.sha256:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{jar.sha256[:12]}.part")
        url = f"{self.repository.rstrip('/')}/{jar.path}"
        trouble = "?"
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(2.0 ** (attempt - 1))
            try:
                _download(url, part, jar.size, progress)
            except urllib.error.HTTPError as error:
                trouble = f"HTTP {error.code}"
                part.unlink(missing_ok=True)
                if error.code in {401, 403, 404}:
                    break
            except (OSError, http.client.HTTPException) as error:
                trouble = str(error)  # what has arrived stays in `part`, the next attempt resumes
            else:
                if _has_size(part, jar.size) and _sha256(part) == jar.sha256:
                    part.replace(target)
                    return target
                trouble = "its SHA-256 is not the one in the lock file"
                part.unlink()
        raise StackError(
            f"cannot get {jar.coordinates} from {url}: {trouble}. "
            "Check the network, or set BECKON_MAVEN_REPOSITORY to a mirror."
        )


def _download(url: str, part: Path, size: int, progress: Progress) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have >= size:
        part.unlink()
        have = 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        with part.open("ab" if resumed else "wb") as file:
            while chunk := answer.read(1 << 16):
                file.write(chunk)
                progress(len(chunk))


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
