"""The market as a whole: events out, decisions in, outcomes out, truth on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
from xxhash import xxh3_64_hexdigest

from jobs.market.behaviour import Behaviour
from jobs.market.catalogue import BRANDS_PER_CATEGORY, ITEMS_PER_BRAND, Catalogue
from jobs.market.customers import Population
from jobs.market.faults import BREAKAGES, BROKEN, DUPLICATE, KINDS, Faults, disturb
from jobs.market.render import Renderer
from jobs.market.response import SHIPPED, CampaignTruth, Truth
from schemas.decision import Decision
from schemas.event import Attribution, BehaviorEvent
from schemas.outcome import Outcome
from schemas.topics import DAY_MS
from schemas.wire import encode

DORMANCY_MS: Final = 30 * DAY_MS
"""How long before the run dormant customers were last seen; they come due while it lasts."""

_BREAKS: Final = tuple(BREAKAGES.values())
_COLUMNS: Final = ("customer", "action", "item", "detail")


class Emission(NamedTuple):
    """One event to send.

    ``due_ms`` is the event time at which it is meant to be sent; the event itself happened then,
    or earlier when its kind is late or out of order. ``event_id`` is empty for a broken event and
    for a repetition, from which no decision is awaited.
    """

    due_ms: int
    key: bytes
    payload: bytes
    kind: str
    event_id: str


class Market:
    """A seeded market: the same arguments give the same bytes and the same answers."""

    def __init__(
        self,
        seed: int,
        customers: int,
        *,
        faults: Faults | None = None,
        campaigns: Mapping[str, CampaignTruth] = SHIPPED,
    ) -> None:
        self.seed = seed
        self.faults = Faults() if faults is None else faults
        self.catalogue = Catalogue(seed)
        self.population = Population(seed, customers, self.faults.bots)
        self.truth = Truth(seed, self.population, self.catalogue, campaigns)
        self._behaviour = Behaviour(self.population)
        self._renderer = Renderer(self.population, self.catalogue)

    def fill(self, start_ms: int, span_ms: int) -> Iterator[Emission]:
        """One event for every customer: who they are and what they consent to.

        Most were seen in the day before ``start_ms``; the dormant ones bought something thirty
        days before a moment of the ``span_ms`` that follow, and were silent since.
        """
        people, prefix = self.population, self._prefix(start_ms, "f")
        rng = np.random.default_rng((self.seed, 6))
        for low in range(0, people.size, 10_000):
            size = min(10_000, people.size - low)
            ago = rng.integers(1, DAY_MS, size)
            ago = np.where(
                people.dormant[low : low + size],
                DORMANCY_MS - rng.integers(0, max(1, span_ms), size),
                ago,
            )
            own = rng.integers(0, BRANDS_PER_CATEGORY * ITEMS_PER_BRAND, size)
            liked = people.favourites[low : low + size, 0].astype(np.int64)
            bought = self.catalogue.item(liked, np.zeros(size, np.int64), own).tolist()
            for customer, before, item in zip(
                range(low, low + size), ago.tolist(), bought, strict=True
            ):
                key, event_id = b"u%07d" % customer, f"{prefix}{customer:x}"
                purchase = item if before > DAY_MS else None
                yield Emission(
                    start_ms,
                    key,
                    self._renderer.known(
                        event_id.encode(), key, start_ms - before, customer, purchase
                    ),
                    "identify",
                    "",
                )

    def events(
        self, start_ms: int, end_ms: int, count: int, *, introduce: bool = True
    ) -> Iterator[Emission]:
        """``count`` emissions, evenly spread over event time and in order of it.

        With ``introduce`` each customer's first session starts by telling who they are; without
        it, `fill` is taken to have told it.
        """
        if count <= 0:
            return
        step = (end_ms - start_ms) / count
        prefix = self._prefix(start_ms, "e")
        rng = np.random.default_rng((self.seed, 3))
        event, sent = self._renderer.event, 0
        for rows in self._behaviour.rows(rng, start_ms, 1 / step, introduce):
            plan = disturb(self.faults, rng, self.population.bot[rows["customer"]])
            columns = [rows[name][plan.row].tolist() for name in _COLUMNS]
            made: dict[int, Emission] = {}
            twice = set(plan.row[plan.kind == DUPLICATE].tolist())
            for row, kind, delay, customer, action, item, detail in zip(
                plan.row.tolist(),
                plan.kind.tolist(),
                plan.delay_ms.tolist(),
                *columns,
                strict=True,
            ):
                due = start_ms + int(sent * step)
                if kind == DUPLICATE:
                    first = made[row]
                    yield Emission(due, first.key, first.payload, "duplicate", "")
                else:
                    name, key = f"{prefix}{sent:x}", b"u%07d" % customer
                    payload = event(name.encode(), key, due - delay, customer, action, item, detail)
                    if kind >= BROKEN:
                        name, payload = "", _BREAKS[kind - BROKEN].spoil(payload)
                    emission = Emission(due, key, payload, KINDS[kind], name)
                    if row in twice:
                        made[row] = emission
                    yield emission
                sent += 1
                if sent == count:
                    return

    def respond(self, decision: Decision) -> list[Outcome]:
        """What becomes of a decision; see `Truth.respond`."""
        return self.truth.respond(decision)

    def purchase(self, decision: Decision, converted: Outcome) -> bytes:
        """The event of the purchase that a conversion is, as the shop reports it."""
        told = decision.status == "send"
        event = BehaviorEvent(
            event_id=f"{decision.decision_id}-purchase",
            user_id=decision.user_id,
            action="purchase",
            ts=converted.ts,
            item_id=decision.item_id,
            item_category=decision.item_category,
            price=converted.value,
            quantity=1,
            attribution=Attribution(decision.campaign_id, decision.decision_id, decision.channel)
            if told
            else None,
        )
        return encode(event)

    def _prefix(self, start_ms: int, kind: str) -> str:
        """Starts the ids of one run, so that a second run of the same seed repeats none."""
        run = xxh3_64_hexdigest(f"{self.seed}:{self.population.size}:{start_ms}".encode())
        return f"{kind}{run[:10]}-"
