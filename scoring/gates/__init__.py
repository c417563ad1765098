"""The gates between a campaign that wants to speak and a message, one file each.

`schemas.reasons` is the table of their order and of every reason they give.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas.control import Campaign, Policy
from schemas.reasons import REASONS
from scoring.gates import budget, caps, consent, eligibility, holdout, identity, quiet_hours
from scoring.gates.base import Candidate, Gate
from scoring.gates.quiet_hours import QuietHours
from scoring.zones import Span, zone

__all__ = ["Candidate", "Chain", "chain", "check", "first_refusal"]

_EARLY: Final = (identity.ready, consent.ready, holdout.ready, eligibility.ready)
_LATE: Final = (caps.ready, budget.ready)


class Chain(NamedTuple):
    """The gates that a campaign's candidates meet before they are scored, in order."""

    gates: tuple[Gate, ...]
    quiet_hours: QuietHours | None


def chain(spec: Campaign, policy: Policy) -> Chain:
    """Make the gates ready for a campaign under a policy."""
    quiet = quiet_hours.ready(spec, policy)
    made = (
        *(ready(spec, policy) for ready in _EARLY),
        quiet,
        *(ready(spec, policy) for ready in _LATE),
    )
    return Chain(tuple(gate for gate in made if gate is not None), quiet)


def first_refusal(gates: tuple[Gate, ...], candidate: Candidate) -> str | None:
    """The reason of the first gate that does not let a candidate through."""
    for gate in gates:
        reason = gate(candidate)
        if reason is not None:
            return reason
    return None


def check(policy: Policy) -> None:
    """Look whether a policy can be worked by.

    Raises:
        ValueError: which field contradicts itself, and what to do.
    """
    for place, cap in enumerate(policy.caps):
        if (cap.within_ms is None) == (cap.per is None):
            raise ValueError(f"caps[{place}]: give `within` or `per`, one of the two")
    if zone(policy.default_zone) is None:
        raise ValueError(f"default_zone: {policy.default_zone!r} is no IANA zone")
    if policy.quiet_hours is not None:
        Span(policy.quiet_hours.start, policy.quiet_hours.end)


_ORDER: Final = {reason: place for place, reason in enumerate(REASONS)}


def in_order(reasons: list[str]) -> str:
    """Reasons of several candidates as one word, in the order of the table."""
    if len(reasons) == 1:
        return reasons[0]
    return ",".join(sorted(reasons, key=_ORDER.__getitem__))
