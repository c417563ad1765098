"""Campaign files: read, checked one by one and as a set, with a sentence for each mistake.

A file is YAML, one campaign or the house policy (``kind: campaign``, ``kind: policy``). All files
are checked before any is used, so a bad one never harms what runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from jobs.settings import Settings
from jobs.yaml_file import Document
from schemas.campaign_file import AbsenceForm, CampaignFile, PolicyFile
from schemas.control import Campaign, Policy, control_key
from schemas.errors import InvalidRecord, UserMistake
from schemas.event import ACTIONS
from schemas.wire import decode_control, encode

Record = Campaign | Policy
FORMS: Final[dict[str, type[CampaignFile] | type[PolicyFile]]] = {
    "campaign": CampaignFile,
    "policy": PolicyFile,
}
SUFFIXES: Final = (".yaml", ".yml")

_BOUND: Final = re.compile(r"(<=|>=) ([0-9.e+]+)$")
_UNITS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


class Checked(Struct, frozen=True):
    """A file that may be published, with what seems odd about it."""

    path: Path
    record: Record
    warnings: tuple[str, ...]


def read_file(path: Path) -> Checked:
    """Read and check one file.

    Raises:
        UserMistake: a line for each mistake, with file, line, field and fix.
    """
    document = Document(path)
    form = FORMS.get(str(document.data.get("kind")))
    if form is None:
        raise UserMistake(
            document.mistake(("kind",), f"expected one of {', '.join(FORMS)} in every file")
        )
    content = document.into(form)
    record = content.record()
    try:
        decode_control(encode(record))
    except InvalidRecord as error:
        raise UserMistake(document.mistake(*_in_units(error.detail))) from None
    if isinstance(record, Policy) and not _is_zone(record.default_zone):
        zone = record.default_zone
        raise UserMistake(
            document.mistake(
                ("default_zone",), f"{zone!r} is no IANA time zone, such as Asia/Shanghai"
            )
        )
    warnings = _warnings(document, content) if isinstance(content, CampaignFile) else ()
    return Checked(path, record, tuple(warnings))


def read_files(paths: Iterable[Path]) -> list[Checked]:
    """Read and check files, and all YAML files of folders.

    Raises:
        UserMistake: what is wrong with any of them, all in one.
    """
    checked: dict[str, Checked] = {}
    mistakes = []
    for path in _files(paths):
        try:
            file = read_file(path)
        except UserMistake as mistake:
            mistakes.append(str(mistake))
            continue
        key = control_key(file.record)
        if key in checked:
            mistakes.append(f"{path}: {key} is already in {checked[key].path}; rename one of them")
        checked[key] = file
    if mistakes:
        raise UserMistake("\n".join(mistakes))
    return list(checked.values())


def shipped() -> Path:
    """The folder of the campaigns that come with Beckon.

    Raises:
        UserMistake: there is none here.
    """
    folder = Settings().infra / "campaigns"
    if not folder.is_dir():
        raise UserMistake(f"no folder {folder}; name the files, or set BECKON_INFRA_DIR")
    return folder


def _files(paths: Iterable[Path]) -> list[Path]:
    found = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
            if not inside:
                raise UserMistake(f"{path} holds no campaign files ({', '.join(SUFFIXES)})")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserMistake(f"there is no file or folder {path}")
    return found


def _in_units(detail: str) -> tuple[tuple[str, ...], str]:
    """Field and fault of a record as its file would say them: ``cooldown: at most 366d``."""
    what, _, place = detail.partition(" - at `$.")
    name = place.rstrip("`")
    field = name.removesuffix("_ms").removesuffix("_ratio")
    if found := _BOUND.search(what):
        bound = float(found[2])
        least_or_most = "at most" if found[1] == "<=" else "at least"
        if name.endswith("_ms"):
            unit, size = next(item for item in _UNITS.items() if bound % item[1] == 0)
            what = f"{least_or_most} {bound / size:.0f}{unit}"
        elif name.endswith("_ratio") or name == "min_score":
            what = f"{least_or_most} {bound:.0%}"
    return tuple(field.split(".")) if field else (), what


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True


def _warnings(document: Document, content: CampaignFile) -> list[str]:
    """Actions that nobody counts and that look like a misspelt one: such a campaign is mute."""
    trigger = content.trigger
    lists = (
        {"after": trigger.after, "without": trigger.without}
        if isinstance(trigger, AbsenceForm)
        else {"actions": trigger.actions}
    )
    found = []
    for name, actions in lists.items():
        for place, action in enumerate(actions):
            near = get_close_matches(action, ACTIONS, 1, 0.7)
            if near and action not in ACTIONS:
                what = f"{action!r} is none of ours; did you mean {near[0]!r}?"
                found.append(document.mistake(("trigger", name, place), what))
    return found
