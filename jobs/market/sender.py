"""What a push, SMS or e-mail system does with decisions: each once, in time, and tell."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from jobs.market.market import Market
from jobs.market.tally import Tally
from schemas.decision import Decision
from schemas.topics import EVENTS, OUTCOMES
from schemas.wire import encode

REMEMBERED: Final = 1_000_000


class Answer(NamedTuple):
    """A record that is due at a moment of event time: an outcome, or the purchase behind one."""

    due_ms: int
    topic: str
    key: str
    payload: bytes
    kind: str


class Sender:
    """Takes decisions and holds the customers' answers until they are due.

    ``counts`` says what became of decisions: sent, holdout, repeated, expired. A holdout is never
    sent; what its customer buys all the same is reported, so that lift can be measured. The
    newest `REMEMBERED` ids, at least, are known again.
    """

    def __init__(self, market: Market) -> None:
        self.tally = Tally(market)
        self.counts: Counter[str] = Counter()
        self._market = market
        self._known: set[str] = set()
        self._known_before: set[str] = set()
        self._waiting: list[Answer] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, decision: Decision, now_ms: int) -> None:
        """Act on a decision that is read at ``now_ms`` of event time."""
        name = decision.decision_id
        if name in self._known or name in self._known_before:
            self.counts["repeated"] += 1
            return
        if len(self._known) >= REMEMBERED:
            self._known, self._known_before = set(), self._known
        self._known.add(name)
        if now_ms > decision.expires_at_ms:
            self.counts["expired"] += 1
            return
        self.counts["holdout" if decision.status == "holdout" else "sent"] += 1
        outcomes = self._market.respond(decision)
        self.tally.add(decision, outcomes)
        for outcome in outcomes:
            due_ms, user = int(outcome.ts), outcome.user_id
            answer = Answer(due_ms, OUTCOMES, user, encode(outcome), outcome.kind)
            heapq.heappush(self._waiting, answer)
            if outcome.kind == "converted":
                payload = self._market.purchase(decision, outcome)
                heapq.heappush(self._waiting, Answer(due_ms, EVENTS, user, payload, "purchase"))

    def due(self, now_ms: int) -> Iterator[Answer]:
        """The answers that are due by ``now_ms``, in order of time."""
        while self._waiting and self._waiting[0].due_ms <= now_ms:
            yield heapq.heappop(self._waiting)

    def next_ms(self) -> int | None:
        """When the next answer is due."""
        return self._waiting[0].due_ms if self._waiting else None
