"""Runs steps: skips what is done, notes what was read, written and spent, goes on after a stop."""

from __future__ import annotations

import hashlib
import inspect
import os
import resource
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from jobs.nightly.base import Manifest, Step, StepReport, StepStopped
from jobs.nightly.context import MANIFEST, REPORT, Context, digest

_GIB: Final = 2**30


def run_step(step: Step, context: Context, *, force: bool = False) -> tuple[Manifest, bool]:
    """Run a step unless it is done; returns its manifest and whether anything was run.

    Done is what ended well with the same code, seed and settings, whose inputs are what they were
    and whose outputs are still there. A step that was stopped is tried again.
    """
    found = _manifest(context.folder)
    if found is not None and not force and _stands(found, step, context):
        return found, False
    (context.folder / MANIFEST).unlink(missing_ok=True)  # half a run is no run
    context.folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    _forget_peak()
    reason = ""
    try:
        report = step(context)
    except StepStopped as stop:
        reason = str(stop)
        report = StepReport(context.step, warnings=(f"stopped: {reason}",))
        for name in context.written:
            (context.folder / name).unlink(missing_ok=True)
    manifest = Manifest(
        step=context.step,
        day=context.day.isoformat(),
        status="stopped" if reason else "done",
        reason=reason,
        code=_code(step),
        seed=context.seed,
        settings=_settings(context),
        reads=tuple(context.source(*read) for read in context.reads),
        writes={} if reason else {name: digest(context.folder / name) for name in context.written},
        seconds=round(time.monotonic() - began, 3),
        peak_gib=round(_peak_gib(), 3),
    )
    write(context.folder / REPORT, report)
    write(context.folder / MANIFEST, manifest)
    return manifest, True


def write(path: Path, value: Any) -> None:
    """Put a value on disk as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".part")
    half.write_bytes(msgspec.json.format(msgspec.json.encode(value)))
    os.replace(half, path)


def _manifest(folder: Path) -> Manifest | None:
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.DecodeError:  # of another release, or cut off
        return None


def _stands(found: Manifest, step: Step, context: Context) -> bool:
    return (
        found.status == "done"
        and found.code == _code(step)
        and found.seed == context.seed
        and found.settings == _settings(context)
        and all(
            (path := context.folder / name).exists() and digest(path) == was
            for name, was in found.writes.items()
        )
        and all(context.source(source.name, source.days) == source for source in found.reads)
    )


def _code(step: Step) -> str:
    """The digest of the file that the step stands in."""
    source = inspect.getsourcefile(inspect.unwrap(step))
    assert source is not None
    return digest(Path(source))


def _settings(context: Context) -> str:
    told = context.settings.model_dump_json() + str(context.quick)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _forget_peak() -> None:
    """Let Linux begin anew to count the most memory this process has used."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_gib() -> float:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1_024 / _GIB
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024 / _GIB
