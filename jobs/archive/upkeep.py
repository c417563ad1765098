"""Keeping the archive's files few, and taking customers out of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.archive.gone import ERASED, digest, erased, erased_key
from jobs.archive.identity import read_identities
from jobs.archive.read import days, files
from jobs.archive.tables import TABLES, ArchiveTable
from jobs.archive.write import (
    PARTIAL,
    folder,
    locked,
    read_manifest,
    replace_file,
    span_of,
    sync_folder,
    write_file,
)

MERGED_FROM: Final = 24
"""So many small files of a day become one."""
SMALL_BYTES: Final = 32 << 20


def merge(root: Path, table: ArchiveTable, day: date, least: int = MERGED_FROM) -> bool:
    """Make one file of a day's newest small ones, if there are ``least`` or more.

    The larger file's name spans theirs, and readers pass over what is spanned: it does not matter
    when this is killed. Returns whether there was something to merge.
    """
    with locked(root):
        found = files(root, table, day)
        small: list[Path] = []
        for path in reversed(found):
            if path.stat().st_size > SMALL_BYTES:
                break
            small.insert(0, path)
        if len(small) < max(2, least):
            return False
        rows = pa.concat_tables([pq.read_table(path, partitioning=None) for path in small])
        first, last = span_of(small[0])[0], span_of(small[-1])[1]
        write_file(small[0].with_name(f"{first:010d}-{last:010d}.parquet"), rows)
        kept = set(files(root, table, day))
        for path in folder(root, table, day).glob("*.parquet"):
            if path not in kept and span_of(path)[1] <= last:
                path.unlink()
        return True


def erase(root: Path, users: Iterable[str]) -> dict[str, int]:
    """Take customers out of every file, and keep out whatever comes of them later.

    With them goes what parties brought of them under other ids. They are remembered by a hash. May
    be killed and run again. Returns the rows taken out, by
    table.
    """
    root.mkdir(parents=True, exist_ok=True)
    taken: Counter[str] = Counter()
    with locked(root):
        identities = read_identities(root)
        wanted = sorted(identities.together(users))
        keys = {key for user in wanted for key in identities.keys.get(user, ())}
        known = erased(root) | {digest(user) for user in wanted} | {erased_key(key) for key in keys}
        replace_file(root / ERASED, "\n".join(sorted(known)).encode() + b"\n")
        ids = pa.array(wanted, pa.string())
        newest = read_manifest(root).batch
        for table in TABLES.values():
            if "user_id" not in table.schema.names:
                continue
            for day in days(root, table):
                _sweep(folder(root, table, day), newest)
                for path in sorted(folder(root, table, day).glob("*.parquet")):
                    taken[table.name] += _take_out(path, ids)
    return dict(taken)


def _sweep(of: Path, newest: int) -> None:
    """Remove what a batch left that died: nobody writes while we hold the lock."""
    for path in of.iterdir():
        if path.suffix == PARTIAL or span_of(path)[1] > newest:
            with suppress(FileNotFoundError):
                path.unlink()


def _take_out(path: Path, ids: pa.Array) -> int:
    found = pq.read_table(path, columns=["user_id"], partitioning=None)["user_id"]
    theirs = pc.is_in(found, ids)
    count = int(pc.sum(theirs).as_py() or 0)
    if count == len(found):
        path.unlink()
        sync_folder(path.parent)
    elif count:
        write_file(path, pq.read_table(path, partitioning=None).filter(pc.invert(theirs)))
    return count
