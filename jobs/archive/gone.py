"""Who was erased on request: remembered by a hash, in one file of the archive.

Whatever else keeps names of customers asks here too (`jobs.effects`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

ERASED: Final = "erased.txt"


def digest(user_id: str) -> str:
    """By what an erased customer is remembered: SHA-256."""
    return hashlib.sha256(user_id.encode()).hexdigest()


def erased_key(digest_of_key: str) -> str:
    """How a key is remembered by which an erased customer could be known again."""
    return f"key:{digest_of_key}"


def erased(root: Path) -> frozenset[str]:
    """The `digest` of each customer who was erased, and each `erased_key` of theirs."""
    try:
        return frozenset((root / ERASED).read_text().split())
    except FileNotFoundError:
        return frozenset()


class Gone:
    """Says of a customer whether they were erased, by the file as it was at the last `refresh`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: tuple[int, int] | None = None
        self._digests: frozenset[str] = frozenset()

    def __call__(self, user_id: str) -> bool:
        """Whether this customer was erased."""
        return bool(self._digests) and digest(user_id) in self._digests

    def refresh(self) -> bool:
        """Read the file if it has changed; says whether it had."""
        try:
            found = (self._root / ERASED).stat()
        except FileNotFoundError:
            return False
        mark = found.st_mtime_ns, found.st_ino
        if mark == self._seen:
            return False
        self._seen, self._digests = mark, erased(self._root)
        return True
