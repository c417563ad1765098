"""``beckon campaigns``: the files that say when to speak, checked, published and listed.

A file is YAML, one campaign or the house policy (``kind: campaign``, ``kind: policy``). All files
are checked before any is published, so a bad one never harms what runs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer
from msgspec import Struct
from msgspec.structs import replace

from jobs.kafka import control_snapshot, ensure_topics, producer
from jobs.settings import Settings
from jobs.yaml_file import Document
from schemas.campaign_file import AbsenceForm, CampaignFile, PolicyFile
from schemas.control import Campaign, ControlRecord, Policy, control_key
from schemas.errors import InvalidRecord, UserMistake
from schemas.event import ACTIONS
from schemas.topics import CONTROL
from schemas.wire import decode_control, encode

Record = Campaign | Policy
FORMS: Final[dict[str, type[CampaignFile] | type[PolicyFile]]] = {
    "campaign": CampaignFile,
    "policy": PolicyFile,
}
SUFFIXES: Final = (".yaml", ".yml")

_BOUND: Final = re.compile(r"(<=|>=) ([0-9.e+]+)$")
_UNITS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}

app = typer.Typer(
    help="Check, publish and list campaign files.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Paths = Annotated[
    list[Path] | None, typer.Argument(help="Files or folders; default: the shipped campaigns.")
]


class Checked(Struct, frozen=True):
    """A file that may be published, with what seems odd about it."""

    path: Path
    record: Record
    warnings: tuple[str, ...]


class Change(Struct, frozen=True):
    """What publishing would do to one record; ``after`` None withdraws it."""

    key: str
    verb: str
    after: Record | None


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


def plan(
    files: Iterable[Checked], in_force: dict[str, Record], now_ms: int, prune: bool
) -> list[Change]:
    """The changes that make what is in force equal to the files.

    A change takes the next version and a date that is newer than the one it replaces. Campaigns
    that no file names are left alone unless ``prune``; the policy is never withdrawn.
    """
    changes = []
    named = set()
    for file in files:
        key = control_key(file.record)
        named.add(key)
        before = in_force.get(key)
        if before is None:
            changes.append(Change(key, "new", replace(file.record, updated_ms=now_ms)))
        elif _dated(file.record, before) != before:
            after = replace(
                file.record,
                version=before.version + 1,
                updated_ms=max(now_ms, before.updated_ms + 1),
            )
            changes.append(Change(key, "changed", after))
    if prune:
        changes += [
            Change(key, "withdrawn", None)
            for key, record in in_force.items()
            if isinstance(record, Campaign) and key not in named
        ]
    return changes


def running(settings: Settings) -> dict[str, Record]:
    """Campaigns and policy in force, by control key; what cannot be read counts as absent."""
    found = {}
    for key, value in control_snapshot(settings):
        if key.startswith(("campaign/", "policy/")):
            record = _decoded(value)
            if isinstance(record, Record):
                found[key] = record
    return found


def publish(settings: Settings, changes: Iterable[Change]) -> None:
    """Write changes to the control topic and wait until the broker has them.

    Raises:
        UserMistake: the broker did not take all of them.
    """
    failed: list[str] = []

    def on_delivery(error: object, _: object) -> None:
        if error is not None:
            failed.append(str(error))

    sender = producer(settings, **{"message.timeout.ms": 20_000})
    for change in changes:
        value = None if change.after is None else encode(change.after)
        sender.produce(CONTROL, key=change.key, value=value, on_delivery=on_delivery)
    sender.flush()
    if failed:
        raise UserMistake(f"Kafka at {settings.bootstrap} refused {len(failed)}: {failed[0]}")


@app.command()
def check(paths: Paths = None) -> None:
    """Check campaign files; each mistake names file, line, field and fix."""
    files = read_files(paths or [_shipped()])
    _warn(files)
    typer.echo(f"{len(files)} files are sound: {', '.join(control_key(f.record) for f in files)}")


@app.command()
def apply(
    paths: Paths = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Withdraw running campaigns that no file names.")
    ] = False,
) -> None:
    """Publish the files that differ from what runs, once all of them are sound."""
    chosen = paths or [_shipped()]
    if prune and not all(path.is_dir() for path in chosen):
        raise UserMistake("--prune withdraws what no file names: give it the whole folder")
    files = read_files(chosen)
    _warn(files)
    settings = Settings()
    ensure_topics(settings)
    changes = plan(files, running(settings), time.time_ns() // 1_000_000, prune)
    publish(settings, changes)
    for change in changes:
        version = "" if change.after is None else f" (version {change.after.version})"
        typer.echo(f"{change.verb:<9} {change.key}{version}")
    same = len(files) - sum(change.after is not None for change in changes)
    typer.echo(f"{len(changes)} published, {same} unchanged")


@app.command(name="list")
def list_running() -> None:
    """List what runs."""
    for line in _table(running(Settings()).values()):
        typer.echo(line)


def _table(records: Iterable[Record]) -> list[str]:
    lines = []
    for record in sorted(records, key=control_key):
        if isinstance(record, Campaign):
            trigger = type(record.trigger).__struct_config__.tag
            about = f"{trigger}, {'/'.join(record.channels)}, holdout {record.holdout_ratio:.1%}"
            lines.append(f"{record.id:<24} v{record.version:<4} {record.status:<7} {about}")
        else:
            about = f"holdout {record.holdout_ratio:.1%}, {record.cap_sends} sends at most"
            lines.append(f"{'(policy)':<24} v{record.version:<4} {'active':<7} {about}")
    return lines or ["nothing runs; publish with `beckon campaigns apply`"]


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


def _shipped() -> Path:
    folder = Settings().infra / "campaigns"
    if not folder.is_dir():
        raise UserMistake(f"no folder {folder}; name the files, or set BECKON_INFRA_DIR")
    return folder


def _dated(record: Record, like: Record) -> Record:
    return replace(record, version=like.version, updated_ms=like.updated_ms)


def _decoded(value: bytes) -> ControlRecord | None:
    try:
        return decode_control(value)
    except InvalidRecord:
        return None


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


def _warn(files: Iterable[Checked], say: Callable[..., None] = typer.echo) -> None:
    for file in files:
        for warning in file.warnings:
            say(f"warning: {warning}", err=True)
