"""What publishing would change, the publishing itself, and what was published before.

Changes of one call are one Kafka transaction, and each has its record in the history. Two people
who publish at once do not overwrite each other: the second to begin makes the first one's fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Final, Literal, TypeGuard, cast

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message
from msgspec.structs import replace

from jobs.campaigns.files import Checked, Record
from jobs.kafka import (
    Place,
    control_snapshot,
    place_of,
    producer,
    read_to_end,
    wait_until_readable,
)
from jobs.settings import Settings
from schemas.change import Change, Verb
from schemas.control import Campaign, ControlRecord, Policy, control_key
from schemas.errors import InvalidRecord, UserMistake
from schemas.experiment import Experiment
from schemas.model import VARIANT_MODEL
from schemas.topics import CHANGES, CONTROL
from schemas.wire import decode_control, encode

TRANSACTION: Final = "beckon-campaigns"
_PATIENCE_S: Final = 20.0
_decode: Final = msgspec.json.Decoder(Change).decode

_AROUND: Final = (
    "campaign/",
    "policy/",
    "experiment/",
    "shop/",
    "list/",
    "forecast/",
    "item/",
    f"model/{VARIANT_MODEL}",
)

InForce = Mapping[str, Record]
"""Campaigns and policy in force, by control key."""


def plan(
    files: Iterable[Checked],
    in_force: InForce,
    now_ms: int,
    prune: bool,
    past: Mapping[str, int] | None = None,
) -> list[Change]:
    """The changes that make what is in force equal to the files.

    A change takes the next version and a date that is newer than the one it replaces; ``past`` has
    the last versions of what once was in force. Campaigns and experiments that no file names are
    left alone unless ``prune``; the policy is never withdrawn.
    """
    changes = []
    named = set()
    for file in files:
        key = control_key(file.record)
        named.add(key)
        before = in_force.get(key)
        after = _wanted(file, before)
        if before is None:
            version = (past or {}).get(key, 0) + 1
            after = replace(after, version=version, updated_ms=now_ms)
            changes.append(Change(key, "new", version, now_ms, after))
        elif replace(after, version=before.version, updated_ms=before.updated_ms) != before:
            changes.append(_next(before, after, now_ms))
    if prune:
        changes += [
            Change(key, "withdrawn", record.version, now_ms, None)
            for key, record in in_force.items()
            if isinstance(record, Campaign | Experiment) and key not in named
        ]
    return changes


def switch(
    names: Iterable[str], status: Literal["active", "paused"], in_force: InForce, now_ms: int
) -> list[Change]:
    """The changes that pause campaigns, or let them go on; none for those that are so already.

    Raises:
        UserMistake: one of them is not in force.
    """
    running = {key.partition("/")[2]: r for key, r in in_force.items() if isinstance(r, Campaign)}
    changes = []
    for name in names:
        before = running.get(name)
        if before is None:
            near = get_close_matches(name, running, 1)
            hint = f"did you mean {near[0]!r}?" if near else "`beckon campaigns list` has them"
            raise UserMistake(f"no campaign {name!r} is in force; {hint}")
        if before.status != status:
            changes.append(_next(before, replace(before, status=status), now_ms))
    return changes


def running(settings: Settings) -> dict[str, Record]:
    """Campaigns and policy in force, by control key; what cannot be read counts as absent."""
    found = everything(settings, "campaign/", "policy/", "experiment/")
    return {control_key(record): record for record in found if is_record(record)}


def everything(settings: Settings, *kinds: str) -> list[ControlRecord]:
    """What is in force of these kinds; of all that campaigns may speak of unless said."""
    found = []
    for key, value in control_snapshot(settings):
        if key.startswith(kinds or _AROUND):
            try:
                found.append(decode_control(value))
            except InvalidRecord:
                continue
    return found


def history(settings: Settings) -> list[Change]:
    """Every change that was published, oldest first; one that cannot be read is left out."""
    found = []
    for message in read_to_end(settings, [CHANGES]):
        try:
            found.append(_decode(message.value() or b""))
        except msgspec.MsgspecError:
            continue
    return found


def publish(
    settings: Settings,
    wanted: Callable[[InForce, Mapping[str, int]], list[Change]],
    author: str,
) -> list[Change]:
    """Make the changes that are wanted, all or none, and return them with their author.

    Whoever reads the topics after this finds them there.

    ``wanted`` is asked when nobody else can publish any more, with what is in force and the last
    version of whatever ever was.

    Raises:
        UserMistake: the broker did not take them, or somebody else publishes at this moment.
    """
    sender = producer(
        settings, **{"transactional.id": TRANSACTION, "transaction.timeout.ms": 20_000}
    )
    ends: dict[Place, int] = {}

    def note(error: KafkaError | None, message: Message) -> None:
        if error is None:
            ends[place_of(message)] = cast(int, message.offset()) + 1

    try:
        sender.init_transactions(_PATIENCE_S)
        past = {change.key: change.version for change in history(settings)}
        changes = [replace(each, author=author) for each in wanted(running(settings), past)]
        if changes:
            sender.begin_transaction()
            for change in changes:
                value = None if change.after is None else encode(change.after)
                sender.produce(CONTROL, key=change.key, value=value, on_delivery=note)
                sender.produce(CHANGES, key=change.key, value=encode(change), on_delivery=note)
            sender.commit_transaction(_PATIENCE_S)
            wait_until_readable(settings, ends)
    except KafkaException as error:
        fault = error.args[0]
        why = (
            "somebody else publishes at this moment; run it again"
            if fault.fatal()
            else f"{fault.str()}; run it again"
        )
        raise UserMistake(f"nothing was published to {settings.bootstrap}: {why}") from None
    return changes


def _wanted(file: Checked, before: Record | None) -> Record:
    """What the file asks for: it keeps a campaign paused unless it says what it should be."""
    record = file.record
    if isinstance(record, Campaign) and isinstance(before, Campaign) and not file.states_status:
        return replace(record, status=before.status)
    return record


def _next(before: Record, after: Record, now_ms: int) -> Change:
    version, at_ms = before.version + 1, max(now_ms, before.updated_ms + 1)
    after = replace(after, version=version, updated_ms=at_ms)
    return Change(control_key(after), _verb(before, after), version, at_ms, after)


def _verb(before: Record, after: Record) -> Verb:
    if isinstance(before, Campaign) and isinstance(after, Campaign):
        same = replace(
            before, version=after.version, updated_ms=after.updated_ms, status=after.status
        )
        if same == after:
            return "paused" if after.status == "paused" else "resumed"
    return "changed"


def is_record(record: ControlRecord) -> TypeGuard[Record]:
    """Whether a control record is one that files make."""
    return isinstance(record, Campaign | Policy | Experiment)
