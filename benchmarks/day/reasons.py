"""Whether ``beckon why`` has one answer for each of many candidates, drawn from the inputs.

Of customers who are recorded in full every event that sets one of the day's unconditional
campaigns off is a candidate, whatever became of it; of the others those that were decided or waited
are. Which they are is worked out here from the inputs; the answers are the product's.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import msgspec

from jobs.why.answers import Record, explain
from jobs.why.command import silences
from schemas.audit import AuditRecord, Candidate, Outcomes
from schemas.control import ControlRecord, control_key
from schemas.topics import EVENTS
from schemas.wire import encode
from scoring.world import is_audited

SAMPLE: Final = 1_000
SETS_OFF: Final = {"favourite": "favourite", "search": "paid-search", "share": "owed"}
"""Action → the campaign that each event of it sets off."""

_ENDS: Final = frozenset({"sent", "holdout", "suppressed", "cancelled", "deferred", "rests"})
_audit: Final = msgspec.json.Decoder(AuditRecord).decode


class _Event(msgspec.Struct):
    event_id: str
    user_id: str
    action: str


class _Decided(msgspec.Struct):
    user_id: str
    campaign_id: str
    trigger_event_id: str


_event: Final = msgspec.json.Decoder(_Event).decode
_decided: Final = msgspec.json.Decoder(_Decided).decode

Named = tuple[str, str, str]
"""Customer, campaign, the event that set it off."""


def unexplained(
    inputs: list[Record],
    audits: list[Record],
    decisions: list[Record],
    control: Iterable[ControlRecord],
    seed: int,
    over_ms: int,
) -> tuple[int, list[str]]:
    """How many candidates were asked about, and those without exactly one clear answer.

    What still waits must be due after ``over_ms``, the event time that the day has reached. That a
    campaign rests after its last message is an answer: it then asks no gate.
    """
    rules = [(control_key(record), encode(record)) for record in control]
    asked = _sample(inputs, decisions, random.Random(seed))
    users = {user for user, _, _ in asked}
    keys = {user.encode() for user in users}
    mine: defaultdict[str, list[Record]] = defaultdict(list)
    owner: dict[tuple[str, int, int], str] = {}
    for record in inputs:
        if record.key in keys:
            user = record.key.decode()
            mine[user].append(record)
            owner[record.topic, record.partition, record.offset] = user
    told = _audits_of(audits, users, owner)
    made: defaultdict[str, list[Record]] = defaultdict(list)
    for record in decisions:
        if record.key in keys:
            made[record.key.decode()].append(record)
    answers: defaultdict[Named, list[str]] = defaultdict(list)
    for user in sorted(users):
        why = explain(user, mine[user], told[user], made[user])
        for answer in why.answers:
            waits = answer.end == "deferred" and answer.turns[-1].due_ms <= over_ms
            end = "waits for ever" if waits else answer.end
            answers[user, answer.campaign_id, answer.trigger_event_id].append(end)
        for campaign in {each[1] for each in asked if each[0] == user and not answers[each]}:
            for each, said in silences(why, campaign, why, rules):
                if "rests" in said:
                    answers[user, campaign, each.id].append("rests")
    return len(asked), [
        f"{' '.join(each)}: {found or 'no answer'}"
        for each in asked
        if len(found := answers[each]) != 1 or found[0] not in _ENDS
    ]


def _sample(inputs: list[Record], decisions: list[Record], draw: random.Random) -> list[Named]:
    told: set[Named] = set()
    for record in inputs:
        if record.topic == EVENTS:
            event = _event(record.value)
            campaign = SETS_OFF.get(event.action)
            if campaign is not None and is_audited(event.user_id):
                told.add((event.user_id, campaign, event.event_id))
    decided: set[Named] = set()
    for record in decisions:
        each = _decided(record.value)
        decided.add((each.user_id, each.campaign_id, each.trigger_event_id))
    most = sorted(told)
    draw.shuffle(most)
    rest = sorted(decided - told)
    draw.shuffle(rest)
    half = min(len(most), max(SAMPLE // 2, SAMPLE - len(rest)))
    return (most[:half] + rest)[:SAMPLE]


def _audits_of(
    audits: Iterable[Record], users: set[str], owner: dict[tuple[str, int, int], str]
) -> defaultdict[str, list[Record]]:
    """The audit records that concern each of these customers."""
    found: defaultdict[str, list[Record]] = defaultdict(list)
    for record in audits:
        told = _audit(record.value)
        if isinstance(told, Candidate):
            if told.user_id in users:
                found[told.user_id].append(record)
        elif isinstance(told, Outcomes):
            concerned = {
                user
                for topic, partition, offset, _, _ in told.rows
                if (user := owner.get((told.topics[topic], partition, offset))) is not None
            }
            for user in concerned:
                found[user].append(record)
    return found
