"""What each version of the model did in the stream, by the examples and rewards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from jobs.models.guard import Served
from schemas.learning import LABELS, Example, Reward


def served(records: Iterable[Example | Reward]) -> dict[str, Served]:
    """Sum up by version; a repeated record changes nothing, and held-out customers do not count."""
    shown: dict[str, Example] = {}
    labels: dict[str, bool] = {}
    left: set[str] = set()
    for record in records:
        if isinstance(record, Example):
            if not record.holdout:
                shown[record.decision_id] = record
        elif record.kind in LABELS:
            labels[record.decision_id] = (
                labels.get(record.decision_id, False) or record.kind == "clicked"
            )
        elif record.kind in ("unsubscribed", "complained"):
            left.add(record.decision_id)
    found: dict[str, Served] = defaultdict(Served)
    for name, example in shown.items():
        mine = found[example.model_version]
        mine.failed += not 0.0 <= example.score <= 1.0
        if name in labels:
            mine.answered += 1
            mine.clicks += labels[name]
            mine.promised += example.score
            mine.left += name in left
    return found
