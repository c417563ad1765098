"""What a step is given: the night's day, its folders, a seed; and a note of all it touches.

<archive_dir>/<table>/day=YYYY-MM-DD/*.parquet      what the stream saw, by day
<data_dir>/nightly/<day>/<step>/                    what a step wrote, its report and manifest
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from rich.console import Console
from rich.progress import track

from jobs.nightly.base import Manifest, Source, StepReport, StepStopped
from jobs.settings import Settings

MANIFEST: Final = "manifest.json"
REPORT: Final = "report.json"
ABSENT: Final = "absent"

_T = TypeVar("_T")
_digests: dict[tuple[str, int, int], str] = {}


class Context:
    """One step's view of one night.

    ``step`` is its name; files go into `output`'s folder. Whatever else it reads it gets by
    `table`, `file`, `result` or `before`, so that a change of it makes the step run again.
    """

    def __init__(
        self,
        step: str,
        *,
        archive_dir: Path,
        data_dir: Path,
        day: date,
        seed: int = 42,
        settings: Settings | None = None,
        console: Console | None = None,
        quick: bool = False,
    ) -> None:
        self.step = step
        self.archive_dir = archive_dir
        self.data_dir = data_dir
        self.day = day
        self.seed = seed
        self.settings = settings or Settings()
        self.console = console or Console(stderr=True)
        self.quick = quick
        self.nights = data_dir / "nightly"
        self.work_dir = self.nights / day.isoformat()
        self.reads: dict[tuple[str, int], None] = {}
        self.written: dict[str, None] = {}

    # What it reads.

    def table(self, name: str, days: int = 30) -> list[Path]:
        """The files of a table of the archive, of the ``days`` up to the night's; oldest first."""
        self.reads[f"table:{name}", days] = None
        return self._files(name, days)

    def file(self, path: Path) -> Path:
        """A file that this step reads, there or not."""
        self.reads[str(path), 0] = None
        return path

    def result(self, step: str, name: str) -> Path:
        """What another step of this night wrote.

        Raises:
            StepStopped: it has not written it.
        """
        path = self.file(self.work_dir / step / name)
        if not path.exists():
            raise StepStopped(
                f"{path} is not there: the step {step!r} has not run or was stopped; "
                f"`beckon nightly {step}`"
            )
        return path

    def before(self, step: str, name: str) -> Path | None:
        """What a step wrote in the newest night before this one, if any did."""
        for night in sorted(self.nights.glob("*-*-*"), reverse=True):
            if night.name < self.work_dir.name and (night / step / name).exists():
                return self.file(night / step / name)
        return None

    def told(self, step: str) -> tuple[StepReport | None, Manifest | None]:
        """What another step of this night reported, and what it cost; None where it has not run."""
        report, manifest = (self.file(self.work_dir / step / it) for it in (REPORT, MANIFEST))
        return (
            msgspec.json.decode(report.read_bytes(), type=StepReport) if report.exists() else None,
            msgspec.json.decode(manifest.read_bytes(), type=Manifest)
            if manifest.exists()
            else None,
        )

    # What it writes.

    @property
    def folder(self) -> Path:
        """The step's own folder."""
        return self.work_dir / self.step

    def output(self, name: str) -> Path:
        """Where to write a file of this name; it belongs to what the step has made."""
        self.written[name] = None
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / name

    # What people see meanwhile.

    def say(self, sentence: str) -> None:
        """A line for whoever watches."""
        self.console.print(f"  {sentence}", highlight=False, soft_wrap=True)

    def track(self, items: Iterable[_T], what: str, total: int | None = None) -> Iterator[_T]:
        """The items, with a bar on a terminal while they are worked through."""
        if not self.console.is_terminal:
            return iter(items)
        return iter(track(items, f"  {what}", total=total, console=self.console, transient=True))

    # For the runner.

    def source(self, name: str, days: int) -> Source:
        """The present digest of something read."""
        if not days:
            path = Path(name)
            if not path.exists():
                return Source(name, 0, ABSENT)
            return Source(name, 0, digest(path), path.stat().st_size)
        files = self._files(name.removeprefix("table:"), days)
        whole = hashlib.sha256()
        for path in files:
            whole.update(f"{path.relative_to(self.archive_dir)} {digest(path)}\n".encode())
        return Source(name, days, whole.hexdigest(), sum(path.stat().st_size for path in files))

    def _files(self, table: str, days: int) -> list[Path]:
        least = (self.day - timedelta(days=days - 1)).isoformat()
        return sorted(
            path
            for path in (self.archive_dir / table).glob("day=*/*.parquet")
            if least <= path.parent.name.removeprefix("day=") <= self.day.isoformat()
        )


def digest(path: Path) -> str:
    """SHA-256 of a file; read once for as long as its size and time stay."""
    state = os.stat(path)
    key = str(path), state.st_size, state.st_mtime_ns
    found = _digests.get(key)
    if found is None:
        with path.open("rb") as file:
            found = _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
