"""Models that an experiment's variants name: known to the registry, and held by the stream."""

from __future__ import annotations

import time
from collections.abc import Iterable
from difflib import get_close_matches

from msgspec.structs import replace

from jobs.settings import Settings
from schemas.control import ControlRecord, control_key
from schemas.experiment import Experiment
from schemas.model import VARIANT_MODEL, Model, variant_model_id

Announcement = tuple[str, Model | None]


def unknown_model(version: str) -> str:
    """What is wrong with naming a model, and what to do; empty for one that the registry has."""
    from jobs.models.registry import Registry  # what no other file needs

    registry = Registry(Settings().data_dir)
    known = registry.versions()
    if version in known:
        return ""
    near = get_close_matches(version, known, 1)
    if near:
        hint = f"did you mean {near[0]!r}?"
    elif known:
        hint = f"it has {', '.join(known[-5:])}; `beckon models list` has them all"
    else:
        hint = "it is empty: train one with `beckon nightly ctr`, or set BECKON_DATA_DIR"
    return f"no model {version!r} in {registry.root}; {hint}"


def bring(
    settings: Settings, records: Iterable[ControlRecord], control: Iterable[ControlRecord]
) -> list[str]:
    """Have the stream hold the models that experiments name, before they run; says which are new.

    ``control`` is what is in force.

    Raises:
        UserMistake: one of them is not what was sealed, or the broker did not take it.
    """
    wanted = _named(records) - set(_held(control).values())
    if not wanted:
        return []
    from jobs.models.commands import announce
    from jobs.models.registry import Registry

    registry, now_ms = Registry(settings.data_dir), time.time_ns() // 1_000_000
    found: list[Announcement] = []
    for version in sorted(wanted):
        model = registry.artefact(version).model
        record = replace(model, id=variant_model_id(version), updated_ms=now_ms, share=1.0)
        found.append((control_key(record), record))
    announce(found, settings)
    return sorted(wanted)


def drop_unneeded(
    settings: Settings, running: Iterable[ControlRecord], control: Iterable[ControlRecord]
) -> list[str]:
    """Withdraw the models that no experiment that is ``running`` names any more; says which."""
    named = _named(running)
    gone = {key: version for key, version in _held(control).items() if version not in named}
    if gone:
        from jobs.models.commands import announce

        announce([(key, None) for key in gone], settings)
    return sorted(gone.values())


def _named(records: Iterable[ControlRecord]) -> set[str]:
    return {
        variant.model
        for record in records
        if isinstance(record, Experiment)
        for variant in record.variants
        if variant.model
    }


def _held(control: Iterable[ControlRecord]) -> dict[str, str]:
    """Control key and version of the models that variants may name."""
    return {
        control_key(record): record.version
        for record in control
        if isinstance(record, Model) and record.id.startswith(VARIANT_MODEL)
    }
