"""How rows get into the archive: whole batches, each once, whatever is killed and when.

A batch is any number of rows of any tables, and how far its topics were read. Its files are written
beside the others under the batch's number; the batch counts from the moment at which the manifest,
replaced in one step, names that number together with the offsets. Files with a higher number are
of a batch that died: readers pass over them and the next writer removes them. So rows and offsets
cannot part, and where to read on is what is on disk, not what a broker remembers.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct, field

from jobs.archive.gone import digest, erased
from jobs.archive.tables import TABLES, ArchiveTable, Row, day_of
from schemas.errors import UserMistake
from schemas.topics import INPUTS
from schemas.wire import encode

MANIFEST: Final = "manifest.json"
PARTIAL: Final = ".partial"
_LOCK: Final = ".lock"
_WRITER: Final = ".writer"


class Manifest(Struct, frozen=True):
    """The last batch that counts, the next offset of each ``topic/partition``, and counts so far.

    ``counted`` goes with the rows: whatever is killed, each record is in it once.
    """

    batch: int = 0
    offsets: dict[str, int] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)


_decode: Final = msgspec.json.Decoder(Manifest).decode


def read_manifest(root: Path) -> Manifest:
    """What the archive at ``root`` holds; of an empty folder, nothing.

    Raises:
        UserMistake: it is not a manifest.
    """
    path = root / MANIFEST
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError:
        return Manifest()
    except msgspec.DecodeError as error:
        raise UserMistake(f"{path} is no archive's manifest: {error}; restore it") from error


def span_of(path: Path) -> tuple[int, int]:
    """The first and the last batch whose rows a file holds."""
    first, _, last = path.stem.partition("-")
    return int(first), int(last)


class Archive:
    """The one writer of an archive. Close it, or use it in a ``with``.

    Raises:
        UserMistake: another process writes to it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._held = os.open(root / _WRITER, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._held)
            raise UserMistake(
                f"another process writes to the archive at {root}; stop it, or give this one a "
                "folder of its own (BECKON_ARCHIVE_DIR)"
            ) from None
        self.manifest = read_manifest(root)
        self._sweep()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write."""
        os.close(self._held)

    def append(
        self,
        rows: Mapping[str, Iterable[Row]],
        offsets: Mapping[str, int] | None = None,
        counted: Mapping[str, int] | None = None,
    ) -> int:
        """Keep rows, by table, the next offsets of ``topic/partition``, and more to have counted.

        All or nothing.

        A row without a place is history that never was on a topic. Rows of erased customers are
        left out. Returns how many were kept.
        """
        batch = self.manifest.batch + 1
        with locked(self.root):
            gone = erased(self.root)
            kept = 0
            for name, found in rows.items():
                table = TABLES[name]
                by_day: dict[date, list[Row]] = {}
                for row in found:
                    if not gone or digest(row.get("user_id", "")) not in gone:
                        row = {"topic_partition": -1, "topic_offset": -1, "ingested_ms": 0, **row}
                        came_ms = row["ingested_ms"] if table.topic in INPUTS else 0
                        day = day_of(row[table.moment], came_ms or None)
                        by_day.setdefault(day, []).append(row)
                for day, of_day in by_day.items():
                    path = folder(self.root, table, day) / f"{batch:010d}-{batch:010d}.parquet"
                    write_file(path, pa.Table.from_pylist(of_day, table.schema))
                    kept += len(of_day)
            so_far = Counter(self.manifest.counted)
            so_far.update(counted or {})
            manifest = Manifest(batch, {**self.manifest.offsets, **(offsets or {})}, dict(so_far))
            replace_file(self.root / MANIFEST, encode(manifest))
            self.manifest = manifest
        return kept

    def _sweep(self) -> None:
        """Remove what batches left that never counted."""
        for name in TABLES:
            for path in (self.root / name).glob("day=*/*"):
                if path.suffix == PARTIAL or span_of(path)[1] > self.manifest.batch:
                    path.unlink()


def folder(root: Path, table: ArchiveTable, day: date) -> Path:
    """Where a day of a table lies."""
    return root / table.name / f"day={day.isoformat()}"


def write_file(path: Path, rows: pa.Table) -> None:
    """Write a Parquet file so that it is there whole, or not, even when the machine stops."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(PARTIAL)
    with partial.open("wb") as out:
        pq.write_table(rows, out, compression="zstd")
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a small file in one step."""
    partial = path.with_suffix(PARTIAL)
    with partial.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Let the names in a folder outlive the machine's stop, where it can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the files still: a batch, an erasure and a compaction come one after the other."""
    with (root / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
