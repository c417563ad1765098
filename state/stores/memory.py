"""A view in a dictionary: what the others are compared with, and what runs without servers."""

from __future__ import annotations

from typing import ClassVar

from state.fact import id64
from state.stores.base import Batch, Entry, Shown
from state.stores.history import decision_json, entry, fact_json
from state.stores.learned import Learned


class MemoryView:
    """Shows dimensions and what was learned, and keeps history; nothing outlives the process."""

    UNFOLDS: ClassVar[bool] = True
    KEEPS_HISTORY: ClassVar[bool] = True
    SHOWS_LEARNED: ClassVar[bool] = True

    def __init__(self) -> None:
        self._shown: dict[str, Shown] = {}
        self._history: dict[str, dict[tuple[int, int], Entry]] = {}
        self._learned = Learned()

    def write(self, batch: Batch) -> None:
        """Take a batch in."""
        for user in batch.erased:
            self._shown.pop(user, None)
            self._history.pop(user, None)
        for user, update in batch.updates.items():
            held = self._shown.get(user)
            if held is None or (held.event_ms, held.revision) <= (
                update.event_ms,
                update.revision,
            ):
                self._shown[user] = Shown(user, update.event_ms, update.revision, update.dimensions)
        for user, facts in batch.facts.items():
            for fact in facts:
                self._rows(user)[fact.ts, fact.id64] = entry(fact.ts, "fact", fact_json(fact))
        for decision in batch.decisions:
            ts = decision.decided_at_ms
            told = entry(ts, "decision", decision_json(decision))
            self._rows(decision.user_id)[ts, id64(decision.decision_id)] = told
        for key in batch.withdrawn:
            self._learned.take(key, None)
        for key, lesson in batch.lessons.items():
            self._learned.take(key, lesson)
        if batch.shadow is not None:
            self._learned.take_shadow(batch.shadow)

    def read(self, user: str) -> Shown | None:
        """A customer, None for one who is not known."""
        return self._shown.get(user)

    def history(self, user: str, limit: int) -> list[Entry]:
        """The newest entries first."""
        rows = sorted(self._history.get(user, {}).items(), key=lambda row: (-row[0][0], row[0][1]))
        return [row for _, row in rows[:limit]]

    def learned(self) -> Learned:
        """What was learned of every campaign."""
        return self._learned

    def close(self) -> None:
        """Nothing to let go of."""

    def _rows(self, user: str) -> dict[tuple[int, int], Entry]:
        return self._history.setdefault(user, {})
