"""Campaign files: read, checked one by one and as a set, with a sentence for each mistake.

A file is YAML: one campaign, one experiment or the house policy (``kind: campaign``,
``experiment``, ``policy``). All files are checked before any is used, so a bad one never harms what
runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from jobs.campaigns.checks import faults
from jobs.campaigns.oddities import absent, mixed_up, oddities, stranded, too_poor, unpaid
from jobs.settings import Settings
from jobs.yaml_file import Document
from schemas.campaign_file import CampaignFile
from schemas.control import Campaign, ControlRecord, Policy, control_key
from schemas.errors import UserMistake
from schemas.experiment import Experiment
from schemas.experiment_file import ExperimentFile
from schemas.policy_file import PolicyFile

Record = Campaign | Policy | Experiment
FORMS: Final[dict[str, type[CampaignFile] | type[PolicyFile] | type[ExperimentFile]]] = {
    "campaign": CampaignFile,
    "policy": PolicyFile,
    "experiment": ExperimentFile,
}
SUFFIXES: Final = (".yaml", ".yml")


class Checked(Struct, frozen=True):
    """A file that may be published, with what seems odd about it.

    ``states_status`` is whether it says active or paused; if not, a paused campaign stays paused.
    """

    path: Path
    record: Record
    warnings: tuple[str, ...] = ()
    states_status: bool = True


def read_file(path: Path, now_ms: int | None = None) -> Checked:
    """Read and check one file.

    Raises:
        UserMistake: a line for each mistake, with file, line, field and fix.
    """
    return _checked(Document(path), _now_ms(now_ms))


def read_files(
    paths: Iterable[Path],
    now_ms: int | None = None,
    control: Iterable[ControlRecord] | None = None,
) -> list[Checked]:
    """Read and check files, and all YAML files of folders.

    ``control`` is what is in force, where that is known: its policy counts for files that bring
    none, and campaigns that need what is not there are warned of.

    Raises:
        UserMistake: what is wrong with any of them, all in one.
    """
    now_ms = _now_ms(now_ms)
    checked: dict[str, tuple[Document, Checked]] = {}
    mistakes = []
    for path in files_of(paths):
        try:
            document = Document(path)
            file = _checked(document, now_ms)
        except UserMistake as mistake:
            mistakes.append(str(mistake))
            continue
        key = control_key(file.record)
        if key in checked:
            before = checked[key][1].path
            mistakes.append(f"{path}: {key} is already in {before}; rename one of them")
        checked[key] = (document, file)
    around = None if control is None else list(control)
    policies = [*(file.record for _, file in checked.values()), *(around or ())]
    policy = next((each for each in policies if isinstance(each, Policy)), Policy())
    found = []
    for document, file in checked.values():
        if isinstance(file.record, Policy):
            others = [each for each in around or () if control_key(each) not in checked]
            mistakes += [document.mistake(*fault) for fault in stranded(file.record, others)]
        if isinstance(file.record, Campaign):
            mistakes += [document.mistake(*fault) for fault in unpaid(file.record, policy)]
            odd = list(too_poor(file.record, policy))
            if around is not None:
                odd += absent(file.record, around)
            warnings = (*file.warnings, *(document.mistake(*fault) for fault in odd))
            found.append(replace(file, warnings=warnings))
        elif isinstance(file.record, Experiment):
            every = [*(other.record for _, other in checked.values()), *(around or ())]
            mistakes += [document.mistake(*fault) for fault in mixed_up(file.record, every)]
            found.append(file)
        else:
            found.append(file)
    if mistakes:
        raise UserMistake("\n".join(mistakes))
    return found


def shipped() -> Path:
    """The folder of the campaigns that come with Beckon.

    Raises:
        UserMistake: there is none here.
    """
    folder = Settings().infra / "campaigns"
    if not folder.is_dir():
        raise UserMistake(f"no folder {folder}; name the files, or set BECKON_INFRA_DIR")
    return folder


def files_of(paths: Iterable[Path]) -> list[Path]:
    """The files that are named, and those of the folders that are.

    Raises:
        UserMistake: there is no such file or folder, or nothing in it.
    """
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


def _checked(document: Document, now_ms: int) -> Checked:
    kind = document.data.get("kind")
    form = FORMS.get(str(kind))
    if form is None:
        wanted = " or ".join(f"`kind: {name}`" for name in FORMS)
        said = "nothing" if kind is None else repr(kind)
        raise UserMistake(document.mistake(("kind",), f"every file says {wanted}, not {said}"))
    content = document.into(form)
    document.refuse(faults(document, content))
    odd = tuple(document.mistake(*fault) for fault in oddities(document, content, now_ms))
    stated = not isinstance(content, CampaignFile) or content.status is not None
    return Checked(document.path, content.record(), odd, stated)


def _now_ms(now_ms: int | None) -> int:
    return time.time_ns() // 1_000_000 if now_ms is None else now_ms
