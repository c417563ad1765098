"""The gates between a campaign that wants to speak and a message, and every reason they give.

This table is the order: a candidate meets the gates from the top, and the first that refuses ends
it. `schemas/reasons.md` is made from it by ``python -m schemas.generate``.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

End = Literal["sent", "holdout", "suppressed", "deferred", "cancelled"]
"""What becomes of a candidate."""


class Gate(Struct, frozen=True):
    """What a gate asks, and what it asks of a transactional message."""

    question: str
    transactional: str = "asked as well"


class Reason(Struct, frozen=True):
    """Which gate gives a reason, what becomes of the candidate, and what it means."""

    gate: str
    end: End
    meaning: str


GATES: Final[dict[str, Gate]] = {
    "identity": Gate("who is it, and has this very message been decided before?"),
    "consent": Gate(
        "did the customer agree to marketing and to a channel, and does the channel reach them?",
        "only whether the channel reaches them: no marketing consent is needed",
    ),
    "holdout": Gate(
        "is the customer kept back, so that lift can be measured?",
        "not asked: nobody is kept back from a message that is owed",
    ),
    "eligibility": Gate("does what set the campaign off still hold, and is it for this customer?"),
    "quiet_hours": Gate("is it night where the customer lives?", "not asked"),
    "caps": Gate("has the customer had enough messages?", "not asked, and not counted"),
    "budget": Gate("can the campaign pay for the message?"),
    "arbitration": Gate(
        "is no other campaign worth more at this moment?",
        "only the least score: it neither competes nor displaces",
    ),
    "channel": Gate("through which of the channels that are left?"),
}
"""Every gate, in the order in which a candidate meets them."""

REASONS: Final[dict[str, Reason]] = {
    "already_decided": Reason(
        "identity", "suppressed", "this campaign has answered this very event before"
    ),
    "no_purpose": Reason(
        "consent", "suppressed", "the customer never agreed to marketing, or withdrew it"
    ),
    "no_opt_in": Reason(
        "consent", "suppressed", "the customer opted in to none of the campaign's channels"
    ),
    "unreachable": Reason(
        "consent", "suppressed", "messages through the channels that are left came back"
    ),
    "held_out": Reason(
        "holdout", "holdout", "passed every gate, and is kept back so that lift can be measured"
    ),
    "campaign_gone": Reason(
        "eligibility", "cancelled", "the campaign was paused or withdrawn while this waited"
    ),
    "reason_gone": Reason(
        "eligibility", "cancelled", "the customer did what ends the reason while this waited"
    ),
    "superseded": Reason(
        "eligibility", "cancelled", "a newer reason of the same campaign took its place"
    ),
    "not_in_period": Reason(
        "eligibility", "suppressed", "the campaign has not begun yet, or is over"
    ),
    "expired": Reason("eligibility", "suppressed", "its reason is older than the campaign allows"),
    "cooldown": Reason(
        "eligibility", "suppressed", "this campaign spoke to the customer too recently"
    ),
    "not_in_audience": Reason(
        "eligibility", "suppressed", "the customer is not of the campaign's audience"
    ),
    "out_of_stock": Reason("eligibility", "suppressed", "the item that it is about is sold out"),
    "quiet_hours": Reason(
        "quiet_hours", "suppressed", "it is night where the customer lives, and the campaign drops"
    ),
    "deferred": Reason(
        "quiet_hours",
        "deferred",
        "it is night where the customer lives; asked again in the morning",
    ),
    "stale_by_morning": Reason(
        "quiet_hours", "suppressed", "it is night, and the reason will be too old in the morning"
    ),
    "too_many_waiting": Reason(
        "quiet_hours", "suppressed", "it is night, and as much as can be kept waits already"
    ),
    "global_cap": Reason(
        "caps", "suppressed", "the customer has had as many messages as the policy allows"
    ),
    "category_cap": Reason(
        "caps", "suppressed", "as many messages of the campaign's category as the policy allows"
    ),
    "channel_cap": Reason(
        "caps", "suppressed", "as many messages through each channel as the policy allows"
    ),
    "cap_memory": Reason(
        "caps", "suppressed", "more messages lie in the caps' windows than are remembered"
    ),
    "no_budget": Reason(
        "budget",
        "suppressed",
        "the budget of each channel is spent, lent out, or kept for later in the day",
    ),
    "awaiting_budget": Reason(
        "budget", "suppressed", "money was asked of the budget's keeper and has not come yet"
    ),
    "overtaken": Reason(
        "arbitration",
        "suppressed",
        "what came of this was lost in a crash, and a later decision of the customer was published",
    ),
    "switched_off": Reason(
        "arbitration", "suppressed", "the channels that are left are switched off"
    ),
    "no_offer": Reason(
        "arbitration", "suppressed", "no offer within the limits leaves the least margin"
    ),
    "low_score": Reason(
        "arbitration", "suppressed", "the expected click-through is below the campaign's least"
    ),
    "below_price": Reason(
        "arbitration",
        "suppressed",
        "money is short by the night's plan, and brings more elsewhere than by this message",
    ),
    "lost_arbitration": Reason(
        "arbitration", "suppressed", "another campaign was worth more at the same moment"
    ),
    "sent": Reason("channel", "sent", "passed every gate"),
}
"""Every reason, by its gate in order."""


def markdown() -> str:
    """The table as a document."""
    lines = [
        "# Gates and reasons",
        "",
        "A campaign that was set off for a customer becomes a candidate. It meets these gates in",
        "this order; the first that refuses ends it, and says why. Made from `schemas/reasons.py`.",
    ]
    for number, (name, gate) in enumerate(GATES.items(), start=1):
        lines += ["", f"## {number}. {name}", "", f"{gate.question[:1].upper()}{gate.question[1:]}"]
        lines += [f"Of a transactional message: {gate.transactional}.", ""]
        lines += ["| reason | end | meaning |", "|---|---|---|"]
        lines += [
            f"| `{code}` | {reason.end} | {reason.meaning} |"
            for code, reason in REASONS.items()
            if reason.gate == name
        ]
    return "\n".join(lines) + "\n"
