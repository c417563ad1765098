"""``beckon preview``: what the stream would decide at an event, without any effect.

The stream's own core takes the event in on a copy of the customer, under the control records in
force (or campaign files that are not in force yet). The copy is made from the newest record of the
profiles topic. What has fallen due since then the copy does anew, as the stream did or will do
before the event; decisions that the stream has published in the meantime are taken as they are.
Nothing is written anywhere.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from jobs.campaigns.files import read_files
from jobs.kafka import control_snapshot, newest_of, offsets_at, read_to_end
from jobs.sandbox import Said, Sandbox
from jobs.settings import Settings
from jobs.words import about_decision, because, moment
from schemas.audit import OUTCOMES, Candidate
from schemas.control import control_key
from schemas.decision import Decision
from schemas.errors import InvalidRecord, UserMistake
from schemas.event import BehaviorEvent
from schemas.topics import DECISIONS, EVENTS, PROFILES
from schemas.wire import decode_event, encode, instant_ms, unknown_fields
from state.stores.base import read_decision, read_profile, update_of

EXAMPLES: Final = """\b
Examples:
  beckon preview u0000042 --event '{"action": "cart", "item_id": "i7", "price": 19.9}'
  beckon preview u0000042 --event @cart.json --campaigns drafts/
  beckon preview u0000042 --event '{"action": "view", "ts": "2026-03-29T22:30:00+02:00"}' --json
"""

_SHAPE: Final = """'{"action": "view"}'"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Wait(Struct, frozen=True):
    """A campaign that now waits, until ``due_ms``, for something not to happen."""

    campaign_id: str
    due_ms: int


class Preview(Struct, frozen=True):
    """What the stream would do at an event.

    ``before`` are decisions that will have fallen due before the event and are not published yet;
    ``waits`` and ``ended`` are the waits that it begins, anew or not, and ends; ``silent`` are the
    campaigns that listen to such an event and did not want to speak.
    """

    user_id: str
    event: BehaviorEvent
    at_ms: int
    end: str
    reason: str
    decisions: list[Decision]
    refusals: list[Candidate]
    waits: list[Wait]
    ended: list[str]
    silent: list[str]
    before: list[Decision]
    known_events: int
    newest_ms: int | None
    campaigns: int
    policy_version: int
    model_version: str


def preview_event(
    state: bytes | None,
    event: BehaviorEvent,
    control: Iterable[tuple[str, bytes]],
    published: Iterable[Decision] = (),
    ingested_ms: int | None = None,
) -> Preview:
    """Take the event in on a copy of the customer.

    ``state`` None is one of whom nothing is known; ``published`` are the decisions since then.

    Raises:
        UserMistake: the stream would refuse the event.
    """
    sandbox = Sandbox(control, published)
    user, at_ms = event.user_id, instant_ms(event.ts)
    if state is not None:
        sandbox.put(user, state)
    book = sandbox.customer(user).book
    known, newest_ms, armed = book.revision, book.newest_ms, dict(book.armed)
    said = sandbox.take(EVENTS, user, encode(event), at_ms if ingested_ms is None else ingested_ms)
    if said.letter is not None:
        raise UserMistake(f"the stream would refuse this event: {said.letter.detail}")
    return _preview(sandbox, event, at_ms, said, known, newest_ms, armed)


def _preview(
    sandbox: Sandbox,
    event: BehaviorEvent,
    at_ms: int,
    said: Said,
    known: int,
    newest_ms: int,
    armed: dict[str, Any],
) -> Preview:
    world, book = sandbox.decider.world, sandbox.customer(event.user_id).book
    decisions = [d for d in said.decisions if d.trigger_event_id == event.event_id]
    before = [
        d
        for d in said.decisions
        if d.trigger_event_id != event.event_id and d.decision_id not in world.sealed
    ]
    refusals = [r for r in said.refusals if r.trigger_event_id == event.event_id]
    watches = world.index.watches
    waits = [
        Wait(spec.id, due_ms)
        for key, wait in sorted(book.armed.items())
        if wait.event_id == event.event_id and key in watches
        for spec, due_ms in watches[key].plans(wait)
    ]
    over = [watches[key] for key in armed.keys() - book.armed.keys() if key in watches]
    spoken = {d.campaign_id for d in said.decisions}
    ended = sorted({spec.id for watch in over for spec in watch.specs} - spoken)
    told = {d.campaign_id for d in decisions} | {r.campaign_id for r in refusals}
    told |= {wait.campaign_id for wait in waits}.union(ended)
    asked = () if said.end in ("late", "duplicate") else world.index.listening(event.action)
    return Preview(
        user_id=event.user_id,
        event=event,
        at_ms=at_ms,
        end=said.end,
        reason=said.reason,
        decisions=decisions,
        refusals=refusals,
        waits=waits,
        ended=ended,
        silent=[spec.id for spec in asked if spec.id not in told],
        before=before,
        known_events=known,
        newest_ms=newest_ms or None,
        campaigns=len(world.campaigns),
        policy_version=world.policy.version,
        model_version=world.models.of(event.user_id).version,
    )


def read_event(user: str, text: str, now_ms: int) -> BehaviorEvent:
    """The event that somebody typed: JSON, ``@file`` or ``-``; what it leaves out is made up.

    Raises:
        UserMistake: it is no event of this customer's.
    """
    try:
        fields = json.loads(_text(text))
    except (ValueError, RecursionError) as error:
        raise UserMistake(
            f"--event is no JSON: {error}. Quote it for the shell: {_SHAPE}"
        ) from None
    if not isinstance(fields, dict):
        raise UserMistake(f"--event must be one JSON object, such as {_SHAPE}")
    if fields.setdefault("user_id", user) != user:
        other = fields["user_id"]
        raise UserMistake(f"--event is of {other!r}, not of {user!r}: leave user_id out")
    fields.setdefault("event_id", f"preview-{uuid.uuid4().hex[:12]}")
    fields.setdefault("ts", now_ms)
    raw = encode(fields)
    try:
        event = decode_event(raw)
        instant_ms(event.ts)
    except InvalidRecord as error:
        raise UserMistake(f"--event: {error.detail}") from None
    if odd := sorted(unknown_fields(BehaviorEvent, raw)):
        names = [field.encode_name for field in msgspec.structs.fields(BehaviorEvent)]
        near = get_close_matches(odd[0], names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(names)}"
        raise UserMistake(f"--event: there is no field {odd[0]!r}{hint}")
    return event


def published(settings: Settings, user: str) -> tuple[bytes | None, list[Decision]]:
    """The customer's state as the stream last published it, and the decisions since then.

    Raises:
        UserMistake: they are not of this release.
    """
    message = newest_of(settings, PROFILES, user)
    value = None if message is None else message.value()
    if message is None or value is None:
        return None, []
    since = offsets_at(settings, [DECISIONS], message.timestamp()[1])
    key = user.encode()
    try:
        state = update_of(read_profile(value), unfolded=False).snapshot
        decisions = [
            read_decision(record.value() or b"")
            for record in read_to_end(settings, [DECISIONS], since)
            if record.key() == key
        ]
    except InvalidRecord as error:
        raise UserMistake(f"what is published of {user!r} cannot be read: {error}") from None
    return state, decisions


def with_files(
    control: Iterable[tuple[str, bytes]], paths: Iterable[Path]
) -> list[tuple[str, bytes]]:
    """The control records with campaign files put over them, as if they had been applied."""
    now_ms = time.time_ns() // 1_000_000
    found = dict(control)
    for file in read_files(paths):
        found[control_key(file.record)] = encode(replace(file.record, updated_ms=now_ms))
    return list(found.items())


@app.command(epilog=EXAMPLES)
def preview(
    user: Annotated[str, typer.Argument(help="The customer's id.")],
    event: Annotated[
        str,
        typer.Option(
            help="The event as JSON, @FILE or - for standard input. What it leaves out is made "
            "up: ts is now, event_id a new one."
        ),
    ],
    campaigns: Annotated[
        list[Path] | None,
        typer.Option(help="Campaign files or folders to try over what is in force; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what would be decided at an event of a customer; nothing is sent and nothing changes.

    The stream's own core decides, on a copy of the customer. An event of tomorrow may be tried
    today: what will have fallen due until then is settled first.
    """
    settings = Settings()
    now_ms = time.time_ns() // 1_000_000
    read = read_event(user, event, now_ms)
    control = with_files(control_snapshot(settings), campaigns or [])
    state, decisions = published(settings, user)
    # A moment to come is looked at as if it were now: the broker would have it then.
    ingested_ms = max(now_ms, instant_ms(read.ts))
    found = preview_event(state, read, control, decisions, ingested_ms)
    if as_json:
        typer.echo(encode(found).decode())
    else:
        Console().print(shown(found))


def shown(found: Preview) -> Group:
    """The preview for people."""
    table = Table(show_header=True, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("what would happen", "campaign", "how and why"):
        table.add_column(column, overflow="fold")
    for decision in found.before:
        what = f"already due at {moment(decision.decided_at_ms)}"
        table.add_row(
            f"[dim]{what}[/]", escape(decision.campaign_id), escape(about_decision(decision))
        )
    for decision in found.decisions:
        what = "[green]send[/]" if decision.status == "send" else "[cyan]hold out[/]"
        table.add_row(what, escape(decision.campaign_id), escape(about_decision(decision)))
    for refusal in found.refusals:
        table.add_row(
            "[yellow]stay silent[/]", escape(refusal.campaign_id), escape(because(refusal))
        )
    for wait in found.waits:
        until = f"until {moment(wait.due_ms)}, unless the customer does what ends it"
        table.add_row("[blue]wait[/]", escape(wait.campaign_id), until)
    for name in found.ended:
        table.add_row("[blue]wait no longer[/]", escape(name), "the event ends what it waited for")
    for name in found.silent:
        why = "listens to such an event, and this one does not set it off"
        table.add_row("[dim]nothing[/]", escape(name), f"[dim]{why}[/]")
    title = f"{found.event.action} by {found.user_id} at {moment(found.at_ms)}"
    lines: list[Any] = [Text(title, style="bold")]
    if found.end in ("late", "duplicate"):
        lines.append(f"[yellow]{found.end}[/]: {OUTCOMES[found.end]}")
    lines.append(table if table.row_count else "No campaign in force listens to such an event.")
    lines.append(Text(_basis(found), style="dim"))
    if found.event.event_id.startswith("preview-") and any(
        decision.propensity < 1 for decision in found.decisions
    ):
        lines.append(
            Text(
                "The channel is drawn by the event's id: give event_id for the very draw.",
                style="dim",
            )
        )
    return Group(*lines)


def _basis(found: Preview) -> str:
    known = f"Nothing is known of {found.user_id}"
    if found.newest_ms is not None:
        known = f"Rests on {found.known_events:,} events and outcomes up to "
        known += moment(found.newest_ms)
    return (
        f"{known}; {found.campaigns} campaigns, policy {found.policy_version}, "
        f"model {found.model_version}. Nothing was sent and nothing changed."
    )


def _text(argument: str) -> str:
    if argument == "-":
        return sys.stdin.read()
    if argument.startswith("@"):
        try:
            return Path(argument[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserMistake(f"--event: {argument[1:]} cannot be read: {error}") from None
    return argument
