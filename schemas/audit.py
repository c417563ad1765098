"""The proof: what became of every input, and why each decision was or was not made."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from schemas.event import SCHEMA_VERSION

OUTCOMES: dict[str, str] = {
    "updated": "the customer's tags changed; no campaign wanted to speak",
    "late": "as updated, but later than the bound, so no campaign was asked",
    "decided": "at least one decision was published",
    "deferred": "a campaign wanted to speak, and waits for the quiet hours to end",
    "suppressed": "a campaign wanted to speak and a gate said no",
    "duplicate": "the id was seen before; nothing changed",
    "unmatched": "an outcome that answers no open decision or order; its tags were counted",
    "dead": "refused, with a dead letter",
}
"""Every end an input record can come to, with its meaning."""

OUTCOME_REASONS: dict[str, str] = {
    "unknown_decision": "no decision of this customer has that id, or it was closed long ago",
    "before_decision": "it happened before its decision, by more than clocks may differ",
    "after_window": "it happened after the attribution window, or came when that had closed",
    "held_out": "the customer was held out, so there was no message to answer",
    "unknown_order": "no order of that id is remembered; should it come, it comes reduced",
    "given_back": "nothing of the order is left to give back",
    "organic": "an order in no message's window: credited to nobody",
}
"""What is to be said of an outcome besides its end.

All but the last end as `unmatched`. An order whose decision is refused so is still an order: it
is credited as if it had named none.
"""

UNANSWERED = OUTCOME_REASONS.keys() - {"organic"}
"""The reasons for which an outcome is `unmatched`."""


class TakenUp(Struct, frozen=True):
    """How a shard was taken up, when the stream started or after a crash.

    ``submitted`` and ``lent`` are the last offsets of the control topic in what the job was
    submitted with, and up to which loans were read besides; -1 for none. ``unread`` has, by
    partition, from and until before which offset outcomes were read ahead; None where they are
    taken as they come.
    """

    submitted: int = -1
    lent: int = -1
    unread: dict[int, tuple[int, int]] | None = None


class Outcomes(Struct, frozen=True, tag_field="kind", tag="outcomes"):
    """A step of a shard: its inputs and their ends, and all else that what it decided hangs on.

    Rows are ``[topic, partition, offset, end, reason]``, in the order in which the inputs were
    taken; ``topic`` is its index in ``topics``. There is exactly one row for each input record. Its
    reason names those of all candidates that were not decided (`schemas.reasons`), with commas
    between, so the rows count every one of them.

    ``number`` counts the steps of the shard's state, so a crash shows as a number that comes again,
    or a lower one. ``heard`` is the last offset of the control topic that was in force. ``ticks``
    are those since the step before, as ``[wall clock, how late]`` in ms: they came before the
    micro-batch, or the last of them was this step. ``given`` is the micro-batch, as ``[topic,
    partition, offset]``, where that is not the rows': outcomes may wait for their place.
    ``taken_up`` is there in the first step of a shard that was taken up anew.
    """

    shard: str
    topics: list[str]
    rows: list[tuple[int, int, int, str, str]]
    schema_version: int = SCHEMA_VERSION
    number: int = 0
    heard: int = -1
    ticks: list[tuple[int, int]] = []
    given: list[tuple[int, int, int]] | None = None
    taken_up: TakenUp | None = None


class Candidate(Struct, frozen=True, tag_field="kind", tag="candidate"):
    """Why a campaign that was set off for a customer did not speak, or not yet.

    ``end``, ``gate`` and ``reason`` are of `schemas.reasons`; ``ts`` is the event time at which it
    was so. ``score`` and ``value`` are 0 when it did not come as far as to be scored. ``due_ms`` is
    until when it was deferred, ``winner`` the decision that was worth more.

    Those that an input ends are told in full for a sample of the customers (`scoring.world`), and
    counted in `Outcomes` for all. Those that the passing of time ends belong to no input, and those
    that are cancelled to none of their own; they are told for all. So are those that came as far as
    to be scored under a ``variant`` of an experiment (``considered``): the customer takes part from
    then on, spoken to or not. ``before`` is what they had done until then
    (`scoring.features.did_before`).
    """

    decision_id: str
    user_id: str
    campaign_id: str
    campaign_version: int
    trigger_event_id: str
    ts: int
    end: str
    gate: str
    reason: str
    score: float
    model_version: str
    policy_version: int
    value: float = 0.0
    due_ms: int = 0
    winner: str = ""
    schema_version: int = SCHEMA_VERSION
    variant: str = ""
    considered: bool = False
    before: tuple[float, float, float] = (0.0, 0.0, 0.0)


class PlanUpdate(Struct, frozen=True, tag_field="kind", tag="plan"):
    """What became of a campaign's mix in the last hour of event time, and why.

    Shares by channel: ``before`` an hour ago, ``after`` now, ``wish`` what the policy would like;
    ``limited`` names what held it back: ``speed``, ``floor``, ``fixed`` or nothing. ``exposures``
    and ``rewards`` are what is known of each channel, decayed. ``because`` says it in words.
    """

    campaign_id: str
    variant: str
    case: int
    ts: int
    policy: str
    before: dict[str, float]
    after: dict[str, float]
    wish: dict[str, float]
    exposures: dict[str, float]
    rewards: dict[str, float]
    limited: str
    because: str
    schema_version: int = SCHEMA_VERSION


class Shadow(Struct, frozen=True, tag_field="kind", tag="shadow"):
    """How the challenger that learns in the stream predicted what has just been labelled.

    Rows are ``[decision_id, label, champion's score, challenger's score]``; the challenger's was
    made before it learned from the row. ``base`` is the log loss of predicting the mean so far.
    All losses are means over every one of the ``examples`` labelled so far. The champion is what
    decided, whichever version of it that was. The challenger decides nothing.
    """

    rows: list[tuple[str, int, float, float]]
    examples: int
    positives: int
    champion_log_loss: float
    challenger_log_loss: float
    base_log_loss: float
    ts: int
    schema_version: int = SCHEMA_VERSION


class RollOut(Struct, frozen=True, tag_field="kind", tag="rollout"):
    """A step of a model's way into the stream, or back, and why it was taken.

    ``stage`` is what it is in from ``ts`` on, ``share`` the part of the customers whom it scores
    then; ``champion`` scores all others, empty for the prior. ``by`` is who moved it.
    """

    version: str
    stage: Literal["shadow", "canary", "all", "settled", "rolled back"]
    share: float
    champion: str
    because: str
    by: str
    ts: int
    schema_version: int = SCHEMA_VERSION


AuditRecord = Outcomes | Candidate | PlanUpdate | Shadow | RollOut
