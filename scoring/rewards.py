"""What is said of a decision when something answers it, or nothing does."""

from __future__ import annotations

from schemas.learning import Reward
from schemas.outcome import Outcome
from schemas.topics import REWARDS
from scoring.emit import Emit
from state.book import Exposure


def reward(
    user_id: str,
    exposure: Exposure,
    kind: str,
    worth: float,
    ts: int,
    outcome: Outcome | None = None,
) -> Emit:
    """A `Reward` of an exposure; ``outcome`` is what answered it."""
    record = Reward(
        decision_id=exposure.decision_id,
        user_id=user_id,
        campaign_id=exposure.campaign,
        channel=exposure.channel,  # type: ignore[arg-type]
        kind=kind,  # type: ignore[arg-type]
        reward=worth,
        ts=ts,
        outcome_id="" if outcome is None else outcome.outcome_id,
        exposed_ms=exposure.at_ms,
        variant=exposure.variant,
        case=exposure.case,
    )
    return Emit(REWARDS, f"{exposure.campaign}/{exposure.channel}", record)


def expiry(user_id: str, exposure: Exposure, ts: int) -> list[Emit]:
    """The label of an exposure that is over, unless a click was it."""
    if exposure.holdout or "clicked" in exposure.answered:
        return []
    return [reward(user_id, exposure, "expired", 0.0, ts)]
