"""What customers of a simulated archive say and show of themselves: less than is true, and late.

Some keep their gender to themselves, others where they live. Members have a day on which that
ends. One in `OWING` pays by the month: most a little ahead, some late as a habit; what they pay
tells when the next payment is due. A phone knows where it is to some kilometres, and people travel.
"""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from jobs.archive.write import write_file
from jobs.market.archive_rows import TRUTH
from jobs.market.customers import CITIES, Population
from schemas.event import BehaviorEvent, Location, Traits
from schemas.topics import DAY_MS
from state.fact import id64

PEOPLE: Final = "people.parquet"
PAYMENT: Final = "payment"
RETICENT: Final = 0.4
"""Share of the customers who do not tell their gender."""
HOMELESS: Final = 0.3
"""Share of those who do not tell the town and region that they live in."""

MEMBER_DAYS, PERIOD_DAYS, OWING = 45, 30, 20
"""Memberships end within so many days; one customer in so many owes something each period."""

LATE: Final = 0.3
"""Share of those who owe that are late as a rule; by how many days, and how many ahead others."""
LATE_DAYS, AHEAD_DAYS, SPREAD_DAYS = 4.0, 3.0, 2.0

AWAY: Final = 0.12
"""Share of the fixes that are of another town than the customer's own."""
BLUR_DEG: Final = 0.08
"""Standard deviation of a fix, some nine kilometres."""


class Told:
    """What customers tell between two moments, the same for the same seed."""

    def __init__(self, people: Population, begins_ms: int, ends_ms: int, seed: int) -> None:
        self._people = people
        self._begins_ms = begins_ms
        rng = np.random.default_rng((seed, 9))
        self.payments: Final[list[BehaviorEvent]] = []
        """What is paid, in the order of time; each tells when the next payment is due."""
        self._paid: dict[int, list[int]] = {}
        self._due: dict[int, list[int]] = {}
        for customer in range(0, people.size, OWING):
            mean = LATE_DAYS if rng.random() < LATE else -AHEAD_DAYS
            due_ms = begins_ms + round(PERIOD_DAYS * _own(customer) * DAY_MS)
            paid: list[int] = []
            dues = [due_ms]
            self._paid[customer], self._due[customer] = paid, dues
            while True:
                at_ms = due_ms + round((mean + SPREAD_DAYS * float(rng.normal())) * DAY_MS)
                at_ms = max(at_ms, begins_ms + 1, *(last + 1 for last in paid[-1:]))
                if at_ms >= ends_ms:
                    break
                due_ms += PERIOD_DAYS * DAY_MS
                paid.append(at_ms)
                dues.append(due_ms)
                user = people.user_id(customer)
                self.payments.append(
                    BehaviorEvent(f"paid-{user}-{len(paid)}", user, PAYMENT, at_ms,
                                  traits=Traits(payment_due_ms=due_ms))
                )  # fmt: skip
        self.payments.sort(key=lambda each: (int(each.ts), each.user_id))

    def event(self, event: BehaviorEvent) -> BehaviorEvent:
        """An event of the market as these customers let it be known."""
        customer = self._people.index_of(event.user_id)
        if customer is None:
            return event
        if event.location is not None:
            event = replace(event, location=self._fix(customer, event.event_id))
        if event.traits is None:
            return event
        own = _own(customer)
        ends_ms = self._begins_ms + round(MEMBER_DAYS * own * DAY_MS)
        hidden = _own(customer, 2_246_822_519) < HOMELESS
        traits = event.traits
        return replace(
            event,
            traits=replace(
                traits,
                gender=None if own < RETICENT else traits.gender,
                city=None if hidden else traits.city,
                region=None if hidden else traits.region,
                member_until_ms=ends_ms if self._people.level[customer] else None,
                payment_due_ms=self._due_at(customer, int(event.ts)),
            ),
        )

    def _due_at(self, customer: int, at_ms: int) -> int | None:
        dues = self._due.get(customer)
        return None if dues is None else dues[bisect_right(self._paid[customer], at_ms)]

    def _fix(self, customer: int, event_id: str) -> Location:
        """Where a phone says that it is; drawn by the event's id, so that nothing else moves."""
        rng = np.random.default_rng(id64(event_id))
        place = int(self._people.city[customer])
        if rng.random() < AWAY:
            place = (place + int(rng.integers(1, len(CITIES)))) % len(CITIES)
        lat, lon = (float(each) for each in CITIES[place][5:7])
        north, east = (BLUR_DEG * rng.normal(size=2)).tolist()
        return Location(round(lat + north, 5), round(lon + east, 5), accuracy_m=9_000.0)


def write_people(root: Path, people: Population) -> None:
    """Who the customers are and where they live, whether they tell it or not."""
    columns = {
        "user_id": [people.user_id(each) for each in range(people.size)],
        "gender": np.where(people.female, "female", "male").tolist(),
        "region": np.array([city[1] for city in CITIES])[people.city].tolist(),
    }
    write_file(root / TRUTH / PEOPLE, pa.table(columns))


def _own(customer: int, multiplier: int = 2_654_435_761) -> float:
    """A customer's own number in [0, 1), spread so that it has to do with nothing else of them."""
    return customer * multiplier % 2**32 / 2**32
