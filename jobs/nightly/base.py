"""What a step takes and gives: plain values that are JSON on disk, from which one page is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from schemas.errors import UserMistake

if TYPE_CHECKING:
    from jobs.nightly.context import Context

Cell = str | float | int | bool | None


class StepStopped(UserMistake):
    """The data is not fit for this step. The message says what, where and the fix.

    Nothing of the step comes into force: what was there yesterday stays.
    """


class Fact(Struct, frozen=True):
    """One figure or word of a report; ``note`` says what it means or is measured against."""

    name: str
    value: Cell
    note: str = ""


class Table(Struct, frozen=True):
    """Rows under columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


class Chart(Struct, frozen=True):
    """A drawing as SVG text, which needs nothing from outside; see `jobs.nightly.drawing`."""

    title: str
    svg: str
    note: str = ""


class StepReport(Struct, frozen=True):
    """What a step has to tell. ``warnings`` are what somebody should look at in the morning."""

    title: str
    facts: tuple[Fact, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    warnings: tuple[str, ...] = ()


class Step(Protocol):
    """One step of the night. Its module's first line is what ``--list`` says of it."""

    def __call__(self, context: Context) -> StepReport:
        """Read, work, write into the context's folder, tell.

        Raises:
            StepStopped: the data is not fit for it.
        """


class Source(Struct, frozen=True):
    """Something that a step read: a file, or the days of a table up to the night's.

    ``days`` is 0 for a file. ``digest`` is of the content; ``absent`` for a missing file.
    """

    name: str
    days: int
    digest: str
    size_bytes: int = 0


class Manifest(Struct, frozen=True):
    """Of one run of a step: what it read and wrote, and what it cost.

    ``code`` is the digest of the step's own file, ``writes`` maps each file it wrote, relative to
    the step's folder, to its SHA-256. A step that was stopped has a ``reason`` and no ``writes``.
    """

    step: str
    day: str
    status: Literal["done", "stopped"]
    reason: str
    code: str
    seed: int
    settings: str
    reads: tuple[Source, ...]
    writes: dict[str, str]
    seconds: float
    peak_gib: float
