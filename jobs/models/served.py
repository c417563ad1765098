"""What each version of the model did in the stream, by the examples and rewards."""

from __future__ import annotations

from collections.abc import Iterable

from jobs.models.guard import Paired, Seen, Served
from jobs.trainers.base import closed
from schemas.learning import LABELS, Example, Reward
from scoring.model import log_loss


def seen(records: Iterable[Example | Reward], trial: str) -> Seen:
    """Sum up a trial; a repeated record changes nothing, and held-out customers do not count.

    The other is whatever else decided, or was held beside it. Only rows whose answers are all in
    are counted as answered: clicks come at once and their absence only when the window closes, so
    among the rest nearly all that are answered were clicked.
    """
    shown: dict[str, Example] = {}
    clicked: dict[str, bool] = {}
    left: set[str] = set()
    for record in records:
        if isinstance(record, Example):
            if not record.holdout:
                shown[record.decision_id] = record
        elif record.kind in LABELS:
            name = record.decision_id
            clicked[name] = clicked.get(name, False) or record.kind == "clicked"
        elif record.kind in ("unsubscribed", "complained"):
            left.add(record.decision_id)
    mine, others = Served(), Served()
    paired = Paired()
    for example in shown.values():
        if not _is_probability(example.score):
            (mine if example.model_version == trial else others).failed += 1
        if trial == example.shadow_version and not _is_probability(example.shadow_score):
            paired.failed += 1
    moments = {name: (each.decided_at_ms, each.campaign_id) for name, each in shown.items()}
    for name in closed(moments, clicked):
        example, click = shown[name], clicked[name]
        its = mine if example.model_version == trial else others
        its.answered += 1
        its.clicks += click
        its.promised += example.score
        its.left += name in left
        if trial == example.model_version and example.shadow_version:
            _compare(paired, example.score, example.shadow_score, click)
        elif trial == example.shadow_version:
            _compare(paired, example.shadow_score, example.score, click)
    return Seen(mine, others, paired)


def _compare(paired: Paired, ours: float, theirs: float, click: bool) -> None:
    """Count a row that both have scored."""
    if not (_is_probability(ours) and _is_probability(theirs)):
        return
    mine, its = log_loss(ours, click), log_loss(theirs, click)
    paired.rows += 1
    paired.clicks += click
    paired.promised += ours
    paired.other_promised += theirs
    paired.trial_loss += mine
    paired.other_loss += its
    paired.excess += mine - its
    paired.squares += (mine - its) ** 2


def _is_probability(score: float) -> bool:
    return 0.0 <= score <= 1.0  # which is false of NaN
