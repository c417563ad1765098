"""``beckon campaigns dry-run``: what files would do, tried on the last day of recorded events."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from confluent_kafka import Message
from msgspec.structs import replace
from rich.console import Console
from rich.progress import Progress

from jobs.campaigns.files import Record, read_files, shipped
from jobs.campaigns.trial import Reach, Recorded, Trial, run_trial
from jobs.kafka import control_snapshot, offsets_at, place_of, read_to_end, watermarks
from jobs.settings import Settings
from jobs.words import moment
from schemas.control import Campaign, control_key
from schemas.errors import InvalidRecord, UserMistake
from schemas.topics import INPUTS, PROFILES
from schemas.units import duration_ms
from schemas.wire import encode
from state.stores.base import read_profile, update_of

_FIRST_REASONS: Final = 3


class _Owner(msgspec.Struct):
    user_id: str


_owner: Final = msgspec.json.Decoder(_Owner)


def dry_run(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders; default: the shipped campaigns.")
    ] = None,
    last: Annotated[str, typer.Option(help="How much of what was recorded, such as 6h.")] = "1d",
) -> None:
    """Try campaign files on the last day of recorded events; nothing is published or sent.

    Tells how many customers each would reach, at what cost, and which sends of the campaigns that
    run it would displace. A paused campaign is tried as if it were active.
    """
    try:
        since_ms = time.time_ns() // 1_000_000 - duration_ms(last)
    except ValueError as error:
        raise UserMistake(f"--last: {error}; say 1d or 6h") from None
    settings = Settings()
    files = active(file.record for file in read_files(paths or [shipped()]))
    control = dict(control_snapshot(settings))
    starts = offsets_at(settings, INPUTS, since_ms)
    marks = watermarks(settings, INPUTS)
    total = sum(max(0, marks[place][1] - start) for place, start in starts.items())
    if not total:
        raise UserMistake(f"nothing was recorded since {moment(since_ms)}; say more: --last 7d")
    known = published_states(settings)
    streams = [read_to_end(settings, [place[0]], {place: start}) for place, start in starts.items()]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("trying", total=total)
        trial = run_trial(
            in_order(streams),
            control,
            changed(files),
            known.get,
            lambda count: progress.advance(task, count),
            time.time_ns() // 1_000_000,
        )
    for line in report(trial, files):
        typer.echo(line)


def active(files: Iterable[Record]) -> list[Record]:
    """The same, with no campaign paused."""
    return [
        replace(each, status="active") if isinstance(each, Campaign) else each for each in files
    ]


def changed(files: Iterable[Record]) -> dict[str, bytes]:
    """The control records that files would put in force, newer than any."""
    now_ms = time.time_ns() // 1_000_000
    return {control_key(each): encode(replace(each, updated_ms=now_ms)) for each in files}


def in_order(streams: Iterable[Iterator[Message]]) -> Iterator[Recorded]:
    """The records of several partitions as one, by the time at which Kafka took them in.

    What cannot be read has no customer; the stream makes a dead letter of it, so it is left out.
    """
    for message in heapq.merge(*streams, key=lambda message: message.timestamp()[1]):
        payload = message.value() or b""
        try:
            user = _owner.decode(payload).user_id
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        topic, partition = place_of(message)
        yield Recorded(topic, user, payload, message.timestamp()[1], partition)


def report(trial: Trial, files: Iterable[Record]) -> list[str]:
    """What the trial found, line by line."""
    lines = [f"{trial.records:,} recorded events and outcomes"]
    rows = []
    tried = {record.id: record for record in files if isinstance(record, Campaign)}
    for name in sorted(tried.keys() | trial.before.keys() | trial.after.keys()):
        before, after = trial.before.get(name, Reach()), trial.after.get(name, Reach())
        if name in tried or before.sends != after.sends:
            sends = f"{before.sends:,} → {after.sends:,}"
            rows.append(
                f"{name:<24} {sends:>17} {len(after.customers):>10,} {after.held_out:>9,} "
                f"{after.cost:>10,.2f}"
            )
    if rows:
        head = f"{'campaign':<24} {'sends':>17} {'customers':>10} {'held out':>9} {'cost':>10}"
        lines += [head, *rows]
    for name, campaign in sorted(tried.items()):
        reach = trial.after.get(name, Reach())
        if campaign.status == "paused":
            lines.append(f"{name} is paused, so it would say nothing")
        elif not reach.sends:
            why = _most(reach.silent) or "nothing set it off"
            lines.append(f"{name} would reach nobody: {why}")
        elif reach.silent:
            lines.append(f"{name} would be silent where: {_most(reach.silent)}")
        lines += _over_budget(campaign, reach.cost)
    for name, reasons in sorted(trial.displaced.items()):
        lines.append(f"displaces {reasons.total():,} sends of {name}: {_most(reasons)}")
    if not trial.displaced:
        lines.append("displaces nothing")
    return lines


def _over_budget(campaign: Campaign, cost: float) -> Iterator[str]:
    budget = campaign.budget
    if budget is not None:
        for limit, what in ((budget.per_day, "a day"), (budget.total, "in all")):
            if limit is not None and cost > limit:
                yield f"{campaign.id} would want {cost:,.2f}, and may spend {limit:,.2f} {what}"


def _most(reasons: Counter[str]) -> str:
    said = [f"{reason} {count:,}" for reason, count in reasons.most_common(_FIRST_REASONS)]
    rest = len(reasons) - len(said)
    return ", ".join(said) + (f", and {rest} more" if rest > 0 else "")


def published_states(settings: Settings) -> dict[str, bytes]:
    """The newest published state of every customer."""
    found: dict[str, bytes] = {}
    for message in read_to_end(settings, [PROFILES]):
        value, key = message.value(), (message.key() or b"").decode("utf-8", "replace")
        found.pop(key, None)
        if value is not None:
            try:
                found[key] = update_of(read_profile(value), unfolded=False).snapshot
            except InvalidRecord:
                continue  # of another release: such a customer starts from nothing
    return found
