"""``beckon evaluate``: what another policy would have earned on the decisions that were made.

Nothing is sent and nothing changes: the logged choices, their propensities and what came of them
are weighed anew (`scoring.evaluation`).
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.table import Table

from jobs.settings import Settings
from jobs.train import decode_record
from jobs.trainers.base import closed
from jobs.words import console
from schemas.control import Policy
from schemas.errors import UserMistake
from schemas.learning import LABELS, Example, Reward
from schemas.learning_rules import Learning
from schemas.topics import EXAMPLES, REWARDS
from schemas.units import duration_ms
from scoring import evaluation
from scoring.evaluation import Estimate, Evaluation, Round, Unsupported
from scoring.learning import NO_CASE, numbers_of, wish_of
from scoring.policies import POLICIES
from state.arm import Arm, Credit

UNIFORM: Final = "uniform"
METRICS: Final = ("clicks", "revenue")

Log = Sequence[tuple[Example, bool, float]]
"""Examples whose window has closed, oldest first: whether they were clicked, and the reward."""

Target = Callable[[Example], Mapping[str, float]]
"""The probability of each channel that was open."""


def evaluate(
    policy: Annotated[
        str,
        typer.Option(help=f"{', '.join(POLICIES)}, {UNIFORM}, or a mix such as sms=0.2,push=0.8"),
    ],
    since: Annotated[
        str, typer.Option(help="how far back: 7d, 12h, or an RFC 3339 time; all when left out")
    ] = "",
    campaign: Annotated[str, typer.Option(help="decisions of this campaign alone")] = "",
    metric: Annotated[str, typer.Option(help=" or ".join(METRICS) + ", for each message")] = (
        "clicks"
    ),
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="how sure the intervals are to be")
    ] = 0.95,
    archive: Annotated[
        bool,
        typer.Option("--archive", help="read what `beckon archive` kept; default: what Kafka has"),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Estimate from the log what another policy of choosing channels would have earned.

    Three estimates, each with its standard error and intervals. IPS weighs every message by how
    much likelier the policy was to choose its channel than what chose it: right on average, and
    unsteady where weights are large. SNIPS divides by the sum of the weights: steadier, a little
    off. DR starts from each channel's own mean and corrects it by IPS: right if either is, and
    mostly the narrowest. Where the three disagree by more than their intervals, trust none.

    "Worth n of its own" is how many messages of the policy itself would tell as much. Below 30, or
    where the log never tried what the policy would do, no figure is given and the exit code is 2.

    A policy that learns is first let learn from the older half of the log, and is evaluated on the
    newer: nobody is judged by what they learned from.

    beckon evaluate --policy uniform --since 7d

    beckon evaluate --policy sms=0.1,push=0.9 --campaign win-back --metric revenue

    beckon evaluate --policy bayes-ucb --since 2026-01-01T00:00:00Z --archive
    """
    if metric not in METRICS:
        raise UserMistake(f"no metric {metric!r}: choose of {', '.join(METRICS)}")
    since_ms = moment_of(since, time.time()) if since else 0
    if archive:
        log = from_archive(Settings().archive, metric, since_ms, campaign)
    else:
        log = labelled(from_topics(Settings(), since_ms), metric, since_ms, campaign)
    try:
        found = evaluated(log, policy, metric, confidence)
    except Unsupported as refusal:
        if not as_json:
            raise UserMistake(f"cannot tell: {refusal}") from refusal
        typer.echo(json.dumps({"refused": str(refusal), "arms": [str(a) for a in refusal.arms]}))
        raise typer.Exit(2) from refusal
    if as_json:
        typer.echo(json.dumps({"policy": policy, "metric": metric, **msgspec.to_builtins(found)}))
    else:
        show(found, policy, metric)


def evaluated(log: Log, policy: str, metric: str, confidence: float = 0.95) -> Evaluation:
    """Evaluate a policy by a log.

    Raises:
        Unsupported: the log cannot tell.
        UserMistake: there is no such policy.
    """
    if not log:
        raise Unsupported(
            (),
            "no message of that time has all its answers in; one has when it was sent and its "
            "campaign's attribution window has closed. Begin earlier, or wait",
        )
    most = 1.0 if metric == "clicks" else None
    found = evaluation.evaluate(rounds_of(log, policy), confidence=confidence, most=most)
    if not any(reward for *_, reward in log):
        raise Unsupported((), f"of {len(log):,} messages none brought any {metric}; begin earlier")
    return found


def answer(records: Iterable[Example | Reward], policy: str, metric: str) -> Evaluation | str:
    """The same of records as they were published; why the log cannot tell, where it cannot."""
    try:
        return evaluated(labelled(records, metric), policy, metric)
    except Unsupported as refusal:
        return str(refusal)


def moment_of(text: str, now_s: float, option: str = "--since") -> int:
    """UTC ms of a duration back from now, or of an RFC 3339 time, which was given as ``option``.

    Raises:
        UserMistake: it is neither.
    """
    try:
        return round(now_s * 1_000) - duration_ms(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserMistake(f"{option} {text!r}: want 7d, 12h or 2026-01-31T00:00:00Z") from None
    if moment.tzinfo is None:
        raise UserMistake(f"{option} {text!r} has no zone; add Z or an offset")
    return round(moment.timestamp() * 1_000)


def from_topics(settings: Settings, since_ms: int) -> Iterable[Example | Reward]:
    """What the stream published since then of examples and rewards."""
    from jobs.kafka import offsets_at, read_to_end

    topics = [EXAMPLES, REWARDS]
    since = offsets_at(settings, topics, since_ms) if since_ms else None
    for message in read_to_end(settings, topics, since):
        value = message.value()
        if value is not None:
            yield decode_record(value)


def from_archive(root: Path, metric: str, since_ms: int = 0, campaign: str = "") -> Log:
    """The same of the archive: what was sent since then, and whose window has closed.

    Raises:
        UserMistake: there is no archive at ``root``.
    """
    from jobs.archive.read import days
    from jobs.archive.read import labelled as of_days
    from jobs.archive.tables import EXAMPLES as KEPT

    first = datetime.fromtimestamp(since_ms / 1_000, UTC).date()
    found: list[tuple[Example, bool, float]] = []
    for _, rows in of_days(root, [day for day in days(root, KEPT) if day >= first]):
        for row in rows.drop_columns(["features"]).to_pylist():
            clicked, value = row.pop("clicked"), row.pop("value")
            example = msgspec.convert({**row, "features": []}, Example)
            ours = campaign in ("", example.campaign_id)
            if ours and example.channels and example.decided_at_ms >= since_ms:
                found.append((example, clicked, float(clicked) if metric == "clicks" else value))
    found.sort(key=lambda each: (each[0].decided_at_ms, each[0].decision_id))
    return found


def labelled(
    records: Iterable[Example | Reward], metric: str, since_ms: int = 0, campaign: str = ""
) -> Log:
    """Give each message that was sent its reward, once its window has closed.

    A record that was read before changes nothing.
    """
    shown: dict[str, Example] = {}
    clicked: dict[str, bool] = {}
    entries: dict[tuple[str, str, str, str], Reward] = {}
    for record in records:
        if campaign and record.campaign_id != campaign:
            continue
        if isinstance(record, Example):
            if not record.holdout and record.channels and record.decided_at_ms >= since_ms:
                shown[record.decision_id] = record
        elif record.kind in LABELS:
            name = record.decision_id
            clicked[name] = clicked.get(name, False) or record.kind == "clicked"
        else:
            key = (record.decision_id, record.kind, record.outcome_id, record.order_id)
            entries[key] = record
    revenue: dict[str, float] = {}
    for (name, *_), entry in entries.items():
        revenue[name] = revenue.get(name, 0.0) + entry.value
    moments = {name: (each.decided_at_ms, each.campaign_id) for name, each in shown.items()}
    by_clicks = metric == "clicks"
    return [
        (
            shown[name],
            clicked[name],
            float(clicked[name]) if by_clicks else revenue.get(name, 0.0),
        )
        for name in closed(moments, clicked)
    ]


def rounds_of(log: Log, policy: str) -> list[Round]:
    """The log as rounds of a policy; an arm is a campaign's channel.

    Raises:
        UserMistake: there is no such policy.
    """
    if policy in POLICIES:
        half = len(log) // 2
        target, log = _learned(log[:half], policy), log[half:]
    else:
        target = _mix(policy)
    return [
        Round(
            f"{example.campaign_id}/{example.channel}",
            example.propensity,
            reward,
            {
                f"{example.campaign_id}/{channel}": share
                for channel, share in target(example).items()
            },
        )
        for example, _, reward in log
    ]


def _learned(log: Log, policy: str) -> Target:
    """A policy of `POLICIES` with what the log tells of the arms.

    Raises:
        Unsupported: it chooses by a context that the log does not have.
    """
    house, rules = Policy(), Learning(policy)  # type: ignore[arg-type]
    prior = house.prior_alpha, house.prior_beta
    if POLICIES[policy].contextual and any(example.case == NO_CASE for example, _, _ in log):
        raise Unsupported(
            (),
            f"{policy} chooses by context, and choices were logged without one; contexts are "
            "logged where such a policy runs: give it to a variant of an experiment, then evaluate",
        )
    arms: defaultdict[tuple[str, str], Arm] = defaultdict(Arm)
    for example, clicked, _ in log:
        numbers = numbers_of(example.case, example.channel)
        credit = Credit(example.decided_at_ms, float(clicked), numbers)
        arms[example.campaign_id, example.channel].apply(credit)

    def target(example: Example) -> Mapping[str, float]:
        known = [arms[example.campaign_id, channel] for channel in example.channels]
        return wish_of(rules, example.channels, known, prior, example.case)

    return target


def _mix(policy: str) -> Target:
    """Fixed shares, of the channels that are open."""
    try:
        weights = (
            None
            if policy == UNIFORM
            else {name.strip(): float(share) for name, _, share in map(_parted, policy.split(","))}
        )
    except ValueError:
        weights = {}
    if weights is not None and (not weights or not all(0 <= w < 1e9 for w in weights.values())):
        known = ", ".join((*POLICIES, UNIFORM))
        raise UserMistake(f"no policy {policy!r}: choose {known}, or a mix such as sms=0.2,push=1")

    def target(example: Example) -> Mapping[str, float]:
        open_ = example.channels
        found = [1.0 if weights is None else weights.get(channel, 0.0) for channel in open_]
        total = sum(found)
        if not total:  # where none of the mix is open, whatever is
            found, total = [1.0] * len(open_), float(len(open_))
        return {channel: weight / total for channel, weight in zip(open_, found, strict=True)}

    return target


def _parted(text: str) -> tuple[str, str, str]:
    return text.partition("=")


def show(found: Evaluation, policy: str, metric: str) -> None:
    """Print an evaluation for people."""
    screen = console()
    screen.print(
        f"[bold]{policy}[/], by {found.rounds:,} messages that are worth {found.effective:,.0f} of "
        f"its own (mean weight {found.weight_mean:.3f}, largest {found.weight_max:.1f})."
    )
    table = Table("", metric, "± s.e.", "normal", "bootstrap", "empirical Bernstein")
    table.add_row("as it was", f"{found.logged:.5f}")
    estimates: dict[str, Estimate] = {"IPS": found.ips, "SNIPS": found.snips, "DR": found.dr}
    for name, each in estimates.items():
        table.add_row(
            name, f"{each.value:.5f}", f"{each.standard_error:.5f}",
            *(_bounds(bounds) for bounds in (each.normal, each.bootstrap, each.bernstein)),
        )  # fmt: skip
    screen.print(table)


def _bounds(interval: Any) -> str:
    return "" if interval is None else f"{interval.low:.5f} … {interval.high:.5f}"
