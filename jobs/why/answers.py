"""Why and why not, from what was recorded: the pure part of ``beckon why``.

Four topics tell it: what came in (events and outcomes), which end each input came to and what was
said of each candidate (audit), and what was decided. Each campaign that was set off by an event has
one answer: the gates' verdicts in the order of time, and the decision if there was one. Nothing is
decided anew and nothing is guessed: what was not recorded is said to be so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from jobs.words import meaning
from schemas.audit import AuditRecord, Candidate
from schemas.audit import Outcomes as Ends
from schemas.decision import Decision
from schemas.errors import InvalidRecord
from schemas.reasons import REASONS
from schemas.topics import OUTCOMES
from schemas.wire import encode, instant_ms
from scoring.gates.base import decision_id
from scoring.world import AUDITED_SHARE, is_audited


class Record(NamedTuple):
    """One record of a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes


class Turn(Struct, frozen=True):
    """What was said of a candidate at a moment; ``gate`` and ``reason`` are of `schemas.reasons`.

    Versions are 0 and "" where only the winner's decision tells of it.
    """

    ts: int
    end: str
    gate: str
    reason: str
    meaning: str
    score: float = 0.0
    value: float = 0.0
    due_ms: int = 0
    winner: str = ""
    campaign_version: int = 0
    model_version: str = ""
    policy_version: int = 0


class Answer(Struct, frozen=True):
    """What became of one campaign that one event set off: the turns in order, the last one counts.

    ``decision`` is there when it ended in one, and carries the score's reasons and the losers.
    """

    campaign_id: str
    decision_id: str
    trigger_event_id: str
    turns: list[Turn]
    decision: Decision | None = None

    @property
    def end(self) -> str:
        """How it ended, or ``deferred`` while it waits."""
        return self.turns[-1].end


class Input(Struct, frozen=True):
    """An event or outcome of the customer; ``end`` is "" when none is recorded yet.

    ``untold`` are reasons of candidates whose names were not recorded (see `Why.detailed`).
    """

    topic: str
    partition: int
    offset: int
    id: str
    what: str
    ts: int
    end: str
    untold: list[str]


class Why(Struct, frozen=True):
    """All answers of a customer, and the inputs that they came from, each in order of event time.

    ``detailed`` says whether the customer is among those of whom every refusal is told in full; of
    all others decisions, what they displaced, and what waited are.
    """

    user_id: str
    detailed: bool
    inputs: list[Input]
    answers: list[Answer]


class _Glimpse(Struct):
    """What an input tells of itself, whatever else is wrong with it."""

    user_id: str
    event_id: str = ""
    outcome_id: str = ""
    action: str = ""
    kind: str = ""
    ts: Any = None


_glimpse: Final = msgspec.json.Decoder(_Glimpse).decode
_audit: Final = msgspec.json.Decoder(AuditRecord).decode
_decision: Final = msgspec.json.Decoder(Decision).decode


def explain(
    user_id: str,
    inputs: Iterable[Record],
    audits: Iterable[Record],
    decisions: Iterable[Record],
    audited_share: int = AUDITED_SHARE,
) -> Why:
    """One answer for each campaign that was set off, from records of anybody's.

    Records may come more than once, as they do after a crash.
    """
    found = _inputs_of(user_id, inputs)
    ends: dict[tuple[str, int, int], tuple[str, str]] = {}
    turns: dict[str, dict[tuple[int, str], Turn]] = {}
    names: dict[str, tuple[str, str]] = {}
    key = user_id.encode()
    for record in audits:
        told = _audit(record.value) if record.key == key or b'"rows"' in record.value else None
        if isinstance(told, Ends):
            for place, partition, offset, end, reason in told.rows:
                spot = (told.topics[place], partition, offset)
                if spot in found:
                    ends[spot] = (end, reason)
        elif isinstance(told, Candidate) and told.user_id == user_id:
            names[told.decision_id] = (told.campaign_id, told.trigger_event_id)
            turns.setdefault(told.decision_id, {})[told.ts, told.reason] = _turn(told)
    made = {d.decision_id: d for r in decisions if r.key == key and (d := _decision(r.value))}
    for name, decision in made.items():
        names[name] = (decision.campaign_id, decision.trigger_event_id)
        for other in decision.losers:
            lost = decision_id(user_id, other.campaign_id, decision.trigger_event_id)
            names.setdefault(lost, (other.campaign_id, decision.trigger_event_id))
            known = turns.setdefault(lost, {})
            if not any(at == decision.decided_at_ms for at, _ in known) and lost not in made:
                known[decision.decided_at_ms, other.reason] = Turn(
                    ts=decision.decided_at_ms,
                    end=REASONS[other.reason].end if other.reason in REASONS else "suppressed",
                    gate=other.gate,
                    reason=other.reason,
                    meaning=meaning(other.reason),
                    score=other.score,
                    value=other.value,
                    winner=name if other.reason == "lost_arbitration" else "",
                )
    answers = []
    for name, (campaign, trigger) in names.items():
        steps = sorted(turns.get(name, {}).values(), key=lambda turn: turn.ts)
        decision_made = made.get(name)
        if decision_made is not None:
            steps = [turn for turn in steps if turn.ts < decision_made.decided_at_ms]
            steps.append(_spoken(decision_made))
        answers.append(Answer(campaign, name, trigger, steps, decision_made))
    answers.sort(key=lambda answer: (answer.turns[0].ts, answer.campaign_id))
    told_reasons: dict[str, list[str]] = {}
    for answer in answers:
        told_reasons.setdefault(answer.trigger_event_id, []).append(answer.turns[0].reason)
    return Why(
        user_id,
        is_audited(user_id, audited_share),
        [
            _with_end(each, ends.get(spot, ("", "")), told_reasons.get(each.id, []))
            for spot, each in sorted(found.items(), key=lambda item: item[1].ts)
        ],
        answers,
    )


def unexplained(whys: Iterable[Why], now_ms: int) -> list[str]:
    """Ids of candidates without one clear end: still waiting long after they were due."""
    return [
        answer.decision_id
        for why in whys
        for answer in why.answers
        if answer.end == "deferred" and answer.turns[-1].due_ms < now_ms
    ]


def narrowed(found: Why, campaign: str | None, at_ms: int | None, within_ms: int) -> Why:
    """Only what concerns a campaign, or happened around a moment of event time."""
    answers, inputs = found.answers, found.inputs
    if campaign is not None:
        answers = [answer for answer in answers if answer.campaign_id == campaign]
    if at_ms is not None:
        low, high = at_ms - within_ms, at_ms + within_ms
        answers = [a for a in answers if any(low <= turn.ts <= high for turn in a.turns)]
        triggers = {answer.trigger_event_id for answer in answers}
        inputs = [each for each in inputs if low <= each.ts <= high or each.id in triggers]
    return Why(found.user_id, found.detailed, inputs, answers)


def _inputs_of(user_id: str, records: Iterable[Record]) -> dict[tuple[str, int, int], Input]:
    needles = {encode(user_id)[1:-1], json.dumps(user_id)[1:-1].encode()}
    found = {}
    for topic, partition, offset, _key, value in records:
        if not any(needle in value for needle in needles):
            continue
        try:
            seen = _glimpse(value)
            ts = instant_ms(seen.ts)
        except (msgspec.DecodeError, UnicodeDecodeError, InvalidRecord, TypeError):
            continue  # it is nobody's: a dead letter tells of it
        if seen.user_id == user_id:
            name, what = (
                (seen.outcome_id, seen.kind) if topic == OUTCOMES else (seen.event_id, seen.action)
            )
            found[topic, partition, offset] = Input(
                topic, partition, offset, name, what, ts, "", []
            )
    return found


def _with_end(each: Input, end: tuple[str, str], told: Sequence[str]) -> Input:
    untold = end[1].split(",") if end[1] and end[0] != "dead" else []
    for reason in told:
        if reason in untold:
            untold.remove(reason)
    return msgspec.structs.replace(each, end=end[0], untold=untold)


def _turn(told: Candidate) -> Turn:
    return Turn(
        told.ts,
        told.end,
        told.gate,
        told.reason,
        meaning(told.reason),
        told.score,
        told.value,
        told.due_ms,
        told.winner,
        told.campaign_version,
        told.model_version,
        told.policy_version,
    )


def _spoken(decision: Decision) -> Turn:
    return Turn(
        decision.decided_at_ms,
        "holdout" if decision.status == "holdout" else "sent",
        REASONS[decision.reason].gate if decision.reason in REASONS else "",
        decision.reason,
        meaning(decision.reason),
        decision.score,
        decision.value,
        campaign_version=decision.campaign_version,
        model_version=decision.model_version,
        policy_version=decision.policy_version,
    )
