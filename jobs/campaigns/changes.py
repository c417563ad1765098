"""What publishing would change, and the publishing itself."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from jobs.campaigns.files import Checked, Record
from jobs.kafka import control_snapshot, producer
from jobs.settings import Settings
from schemas.control import Campaign, ControlRecord, control_key
from schemas.errors import InvalidRecord, UserMistake
from schemas.topics import CONTROL
from schemas.wire import decode_control, encode


class Change(Struct, frozen=True):
    """What publishing would do to one record; ``after`` None withdraws it."""

    key: str
    verb: str
    after: Record | None


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


def _dated(record: Record, like: Record) -> Record:
    return replace(record, version=like.version, updated_ms=like.updated_ms)


def _decoded(value: bytes) -> ControlRecord | None:
    try:
        return decode_control(value)
    except InvalidRecord:
        return None
