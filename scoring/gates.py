"""The gates between a campaign that wants to speak and a decision, in the order of `GATES`.

A gate is a pure function that answers None to let the candidate through, or the reason why not.
Whether a customer is held out is not a gate: a held-out customer passes the same gates and gets a
decision marked ``holdout``, so that both groups are chosen alike and lift can be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct
from xxhash import xxh3_64_intdigest

from schemas.control import Campaign, Policy
from schemas.outcome import Channel
from state.book import Book
from state.profile import Profile
from state.tagging.consent import Consent


class Candidate(Struct):
    """A campaign that was triggered for a customer, on its way through the gates."""

    user_id: str
    spec: Campaign
    at_ms: int
    profile: Profile
    book: Book
    policy: Policy
    channels: tuple[Channel, ...] = ()
    score: float = 0.0


def consent(candidate: Candidate) -> str | None:
    """Keep the channels that the customer allows for marketing; fails closed."""
    tag = candidate.profile.tag(Consent)
    candidate.channels = tuple(
        channel for channel in candidate.spec.channels if tag.allows(channel)
    )
    return None if candidate.channels else "no_consent"


def cooldown(candidate: Candidate) -> str | None:
    """Part of eligibility: the campaign has spoken to this customer too recently."""
    last = candidate.book.last_sent.get(candidate.spec.id)
    if last is not None and candidate.at_ms < last + candidate.spec.cooldown_ms:
        return "cooldown"
    return None


def frequency_cap(candidate: Candidate) -> str | None:
    """At most ``cap_sends`` messages in any ``cap_window_ms``, over all campaigns."""
    policy = candidate.policy
    if candidate.book.sends_since(candidate.at_ms - policy.cap_window_ms) >= policy.cap_sends:
        return "frequency_cap"
    return None


def worth_it(candidate: Candidate) -> str | None:
    """The score reaches the campaign's least."""
    return "low_score" if candidate.score < candidate.spec.min_score else None


Gate = Callable[[Candidate], str | None]

BEFORE_SCORE: Final[tuple[Gate, ...]] = (consent, cooldown, frequency_cap)
AFTER_SCORE: Final[tuple[Gate, ...]] = (worth_it, frequency_cap)

REASONS: Final[dict[str, str]] = {
    "no_consent": "the customer allows none of the campaign's channels",
    "cooldown": "this campaign spoke to the customer too recently",
    "frequency_cap": "the customer has had as many messages as the policy allows",
    "low_score": "the expected click-through is below the campaign's least",
}
"""Every reason that a gate gives, with its meaning."""


def first_refusal(gates: tuple[Gate, ...], candidate: Candidate) -> str | None:
    """The reason of the first gate that says no."""
    for gate in gates:
        reason = gate(candidate)
        if reason is not None:
            return reason
    return None


def held_out(candidate: Candidate) -> bool:
    """Whether the customer belongs to the global or the campaign's holdout; stable for ever."""
    user, spec = candidate.user_id, candidate.spec
    return _share(f"holdout\x1f{user}") < candidate.policy.holdout_ratio or (
        spec.holdout_ratio > 0 and _share(f"holdout\x1f{spec.id}\x1f{user}") < spec.holdout_ratio
    )


def _share(text: str) -> float:
    """A number in [0, 1) that depends on nothing but the text."""
    return xxh3_64_intdigest(text.encode()) / 2**64
