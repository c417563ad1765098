"""``beckon why``: why a customer was sent something, and why not."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Final

import typer
from rich.console import Console, Group
from rich.markup import escape
from rich.progress import track
from rich.table import Table
from rich.text import Text

from jobs.kafka import control_snapshot, offsets_at, read_to_end
from jobs.settings import Settings
from jobs.why.answers import Answer, Input, Record, Turn, Why, explain, narrowed
from jobs.words import about_decision, meaning, moment, share
from operators.shard import Decider
from schemas.audit import OUTCOMES as ENDS
from schemas.errors import InvalidRecord, UserMistake
from schemas.topics import AUDIT, DECISIONS, EVENTS, INPUTS
from schemas.wire import encode, instant_ms
from scoring.world import AUDITED_SHARE

EXAMPLES: Final = """\b
Examples:
  beckon why u0000042
  beckon why u0000042 --campaign cart-abandonment --last 7d
  beckon why u0000042 --at 2026-03-29T22:30:00+02:00 --within 5m --json
"""

_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

Silence = tuple[Input, str]
"""An event that a campaign heard and let pass, and what is known of the reason."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog=EXAMPLES)
def why(
    user: Annotated[str, typer.Argument(help="The customer's id.")],
    campaign: Annotated[str | None, typer.Option(help="Only this campaign.")] = None,
    at: Annotated[
        str | None,
        typer.Option(help="Only around this event time: ISO 8601 with its zone, or UTC ms."),
    ] = None,
    within: Annotated[str, typer.Option(help="How far around --at: 30s, 10m, 2h, 1d.")] = "10m",
    last: Annotated[
        str, typer.Option(help="How far back to read, by Kafka's time: 2h, 7d; all for everything.")
    ] = "1d",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say why a customer was sent something, and why not, from what was recorded.

    Each campaign that an event set off has one answer: which gate stopped it and why, what it lost
    to, until when it waits, or the decision with what moved its score. The topics of the span are
    read through, so a long one takes its time.
    """
    settings = Settings()
    at_ms = None if at is None else _instant(at)
    within_ms, last_ms = _span("--within", within), None if last == "all" else _span("--last", last)
    control = control_snapshot(settings)
    found = explain(user, *read_topics(settings, last_ms, quiet=as_json))
    if not (found.inputs or found.answers):
        raise UserMistake(
            f"nothing is recorded of {user!r} in the last {last}: look at the id's spelling, or "
            "further back with --last"
        )
    told = narrowed(found, campaign, at_ms, within_ms)
    silent: list[Silence] = []
    if campaign is not None:
        silent = silences(told, campaign, found, control)
    if as_json:
        typer.echo(encode(told).decode())
    else:
        Console().print(shown(told, campaign, silent))


def shown(found: Why, campaign: str | None = None, silent: Sequence[Silence] = ()) -> Group:
    """The answers for people; ``silent`` are events that the campaign heard and let pass."""
    table = Table(show_header=True, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("when", "set off by", "campaign", "what came of it, and why"):
        table.add_column(column, overflow="fold")
    inputs = {each.id: each for each in found.inputs}
    for answer in found.answers:
        trigger = inputs.get(answer.trigger_event_id)
        cause = "an event before this span" if trigger is None else trigger.what
        for turn in answer.turns:
            head = [moment(turn.ts), escape(cause), escape(answer.campaign_id)]
            table.add_row(*head, _verdict(turn, answer))
            cause = ""
    for each, why_so in silent:
        table.add_row(
            moment(each.ts), escape(each.what), escape(campaign or ""), f"[dim]{why_so}[/]"
        )
    lines: list[Any] = [Text(f"{found.user_id}: what was and was not said, and why", style="bold")]
    lines.append(table if table.row_count else Text(_nothing(found, campaign)))
    for each in found.inputs:
        if each.untold and campaign is None:
            reasons = "; ".join(f"{code}: {meaning(code)}" for code in each.untold)
            lines.append(Text(f"{moment(each.ts)} {each.what}: {each.end} ({reasons})"))
    lines.append(Text(_basis(found), style="dim"))
    return Group(*lines)


def _verdict(turn: Turn, answer: Answer) -> str:
    colour = {"sent": "green", "holdout": "cyan", "deferred": "blue"}.get(turn.end, "yellow")
    text = f"[{colour}]{turn.end}[/] "
    decision = answer.decision
    if decision is None or turn is not answer.turns[-1]:
        text += escape(f"at gate {turn.gate}: {turn.reason}: {turn.meaning}")
        if turn.due_ms:
            text += f" ({moment(turn.due_ms)})"
        if turn.score:
            text += f"; expected click-through {share(turn.score)}, worth {turn.value:.4g}"
        if turn.winner:
            text += f"; went to {turn.winner}"
        return text
    text += escape(about_decision(decision))
    for why_so in decision.because:
        text += escape(f"\n  {why_so}")
    for other in decision.losers:
        text += escape(f"\n  before {other.campaign_id} ({other.reason}, worth {other.value:.4g})")
    return text + escape(
        f"\n  campaign version {decision.campaign_version}, policy {decision.policy_version}, "
        f"model {decision.model_version}"
    )


def _nothing(found: Why, campaign: str | None) -> str:
    what = "No campaign" if campaign is None else f"{campaign} was not set off: no campaign"
    return f"{what} wanted to speak in this span."


def _basis(found: Why) -> str:
    counts: dict[str, int] = {}
    for each in found.inputs:
        counts[each.end or "on its way"] = counts.get(each.end or "on its way", 0) + 1
    ends = ", ".join(f"{count:,} {end}" for end, count in counts.items())
    text = f"Of {len(found.inputs):,} inputs: {ends or 'none'}."
    for end in counts.keys() & {"late", "duplicate", "unmatched", "dead"}:
        text += f" {end}: {ENDS[end]}."
    if not found.detailed:
        text += (
            " Refusals of this customer are counted, not told campaign by campaign: one customer "
            f"in {AUDITED_SHARE} is recorded in full."
        )
    return text


def silences(
    told: Why, campaign: str, found: Why, control: list[tuple[str, bytes]]
) -> list[Silence]:
    """The events that the campaign, as it is now, listens to, and that it let pass."""
    world = Decider(control=control).world
    known = {*world.campaigns, *(answer.campaign_id for answer in found.answers)}
    if campaign not in known:
        near = get_close_matches(campaign, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known))}"
        raise UserMistake(f"no campaign {campaign!r} is in force or recorded here; {hint}")
    spec = world.campaigns.get(campaign)
    if spec is None:
        return []
    answers = [answer for answer in found.answers if answer.campaign_id == campaign]
    answered = {answer.trigger_event_id for answer in answers}
    spoke = [answer.turns[-1].ts for answer in answers if answer.decision is not None]
    silent = []
    for each in told.inputs:
        certain = each.end == "updated" or (each.end == "decided" and found.detailed)
        if each.topic != EVENTS or each.id in answered or not certain:
            continue
        if not any(other.id == campaign for other in world.index.listening(each.what)):
            continue
        before = [ts for ts in spoke if ts <= each.ts < ts + spec.cooldown_ms]
        said = "heard it; it did not set it off"
        if before:
            until_ms = max(before) + spec.cooldown_ms
            said = f"heard it, and rests after its last message until {moment(until_ms)}"
        silent.append((each, said))
    return silent


def read_topics(
    settings: Settings, last_ms: int | None, *, quiet: bool
) -> tuple[Iterator[Record], Iterator[Record], Iterator[Record]]:
    """What came in, what is audited and what was decided, in this order: no end is missed."""

    def records(topics: Sequence[str]) -> Iterator[Record]:
        since = None
        if last_ms is not None:
            since = offsets_at(settings, topics, time.time_ns() // 1_000_000 - last_ms)
        messages = read_to_end(settings, topics, since)
        label = f"reading {', '.join(topics)}"
        for message in track(messages, label, transient=True, disable=quiet):
            place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
            yield Record(*place, message.key() or b"", message.value() or b"")

    return records(INPUTS), records([AUDIT]), records([DECISIONS])


def _instant(text: str) -> int:
    try:
        return instant_ms(int(text) if text.isdigit() else text)
    except InvalidRecord as error:
        raise UserMistake(f"--at: {error.detail}") from None


def _span(option: str, text: str) -> int:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise UserMistake(f"{option} is a number and s, m, h or d, such as 10m; not {text!r}")
    return int(found[1]) * _UNITS_MS[found[2]]
