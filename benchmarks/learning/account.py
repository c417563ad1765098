"""What the topics say that was learned, worked out in plain Python, against what `learn` published.

Nothing of the product is used here but the names of topics: records are read as JSON, and each
figure is counted anew. An answer counts where the audit says that its outcome was `updated`; a
reward is right when an answer stands behind it, and an arm when it has the exposures and clicks
that decisions and answers say.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from schemas import topics

READ = (
    topics.DECISIONS,
    topics.OUTCOMES,
    topics.EXAMPLES,
    topics.REWARDS,
    topics.CONTROL,
    topics.AUDIT,
)
LABELS = ("clicked", "expired")
MOST_TOLD = 10
Arm = tuple[str, str, str]
"""Campaign, channel, variant."""
Sums = tuple[float, float]
"""Exposures and clicks."""


class Read(NamedTuple):
    """A record as Kafka has it."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: str
    value: bytes | None


class Account(NamedTuple):
    """What differs; everything but the counts of the first line is to be 0."""

    decisions: int
    exposures: int
    clicks: int
    orders: int
    posterior_differences: int
    rewards_lost: int
    rewards_of_nothing: int
    rewards_changed: int
    labelled_twice: int
    orders_wrong: int
    examples_lost: int
    examples_changed: int
    told: list[str]

    @property
    def right(self) -> bool:
        """Whether nothing was lost, counted twice or changed."""
        return not any(self[4:12])


class Book:
    """The records, taken apart."""

    def __init__(self, records: Iterable[Read]) -> None:
        self.decisions: dict[str, dict[str, Any]] = {}
        self.examples: dict[str, set[bytes]] = defaultdict(set)
        self.rewards: dict[tuple[str, ...], set[bytes]] = defaultdict(set)
        self.learned: dict[Arm, Sums] = {}
        self._outcomes: dict[tuple[int, int], dict[str, Any]] = {}
        self._ends: dict[tuple[int, int], str] = {}
        for record in records:
            if record.value is None:
                if record.key.startswith("posterior/"):
                    self.learned.pop(_arm_of(record.key), None)
                continue
            self._take(record, record.value)
        answers = [each for place, each in self._outcomes.items() if self._counted(place)]
        self.clicked = {each["decision_id"] for each in answers if each["kind"] == "clicked"}
        self.bounced = {each["decision_id"] for each in answers if each["kind"] == "bounced"}
        self.orders = {
            each.get("order_id") or each["outcome_id"]: each.get("value") or 0.0
            for place, each in self._outcomes.items()
            if each["kind"] == "converted" and self._ends.get(place) != "duplicate"
        }

    def _counted(self, place: tuple[int, int]) -> bool:
        return self._ends.get(place) == "updated" and bool(self._outcomes[place].get("decision_id"))

    def _take(self, record: Read, value: bytes) -> None:
        match record.topic:
            case topics.DECISIONS:
                found = json.loads(value)
                self.decisions.setdefault(found["decision_id"], found)
            case topics.OUTCOMES:
                try:
                    found = json.loads(value)
                except ValueError:
                    return  # which the stream makes a dead letter of
                self._outcomes[record.partition, record.offset] = found
            case topics.EXAMPLES:
                self.examples[record.key].add(value)
            case topics.REWARDS:
                found = json.loads(value)
                known_by = ("decision_id", "kind", "outcome_id", "order_id")
                self.rewards[tuple(found.get(name, "") for name in known_by)].add(value)
            case topics.CONTROL:
                if record.key.startswith("posterior/"):
                    found = json.loads(value)
                    self.learned[_arm_of(record.key)] = found["met"][0], found["won"][0]
            case topics.AUDIT:
                found = json.loads(value)
                for row in found["rows"] if found["kind"] == "outcomes" else ():
                    if found["topics"][row[0]] == topics.OUTCOMES:
                        self._ends[row[1], row[2]] = row[3]

    def truth(self) -> dict[Arm, Sums]:
        """Exposures and clicks of each arm: of what was sent and did not come back."""
        seen: Counter[Arm] = Counter()
        won: Counter[Arm] = Counter()
        for name, decision in self.decisions.items():
            if decision["status"] == "send" and name not in self.bounced:
                arm = decision["campaign_id"], decision["channel"], decision.get("variant", "")
                seen[arm] += 1
                won[arm] += name in self.clicked
        return {arm: (float(count), float(won[arm])) for arm, count in seen.items()}


def account(records: Iterable[Read]) -> Account:
    """Hold everything that was published against what it must be."""
    book = Book(records)
    truth, told = book.truth(), []
    arms = sorted(truth.keys() | book.learned.keys())
    wrong = [arm for arm in arms if not _same(truth.get(arm), book.learned.get(arm))]
    told += [f"{'/'.join(a)}: {book.learned.get(a)} learned, {truth.get(a)} true" for a in wrong]
    expected = {(name, kind) for kind in ("clicked", "bounced") for name in _of(book, kind)}
    given = {key[:2] for key in book.rewards if key[1] in ("clicked", "bounced")}
    told += [f"no reward: {' '.join(each)}" for each in sorted(expected - given)]
    told += [f"a reward of nothing: {' '.join(each)}" for each in sorted(given - expected)]
    labels = Counter(key[0] for key in book.rewards if key[1] in LABELS)
    credited = _credited(book.rewards)
    orders = [n for n, value in book.orders.items() if abs(credited[n] - value) > 1e-6]
    told += [f"order {n}: {credited[n]} credited of {book.orders[n]}" for n in orders]
    return Account(
        len(book.decisions),
        round(sum(seen for seen, _ in truth.values())),
        round(sum(clicks for _, clicks in truth.values())),
        len(book.orders),
        len(wrong),
        len(expected - given),
        len(given - expected),
        sum(len(contents) > 1 for contents in book.rewards.values()),
        sum(count > 1 for count in labels.values()),
        len(orders),
        len(book.decisions.keys() ^ book.examples.keys()),
        sum(len(contents) > 1 for contents in book.examples.values()),
        told[:MOST_TOLD],
    )


def _of(book: Book, kind: str) -> set[str]:
    return book.clicked if kind == "clicked" else book.bounced


def _credited(rewards: Mapping[tuple[str, ...], set[bytes]]) -> Counter[str]:
    """What entries of an order's account add up to."""
    found: Counter[str] = Counter()
    for (_, kind, outcome, order), contents in rewards.items():
        if kind in ("converted", "reversed"):
            found[order or outcome] += json.loads(next(iter(contents)))["value"]
    return found


def _arm_of(key: str) -> Arm:
    _, campaign, channel, *variant = key.split("/", 3)
    return campaign, channel, "".join(variant)


def _same(one: Sums | None, other: Sums | None) -> bool:
    """Whether two sums are the same; nothing known of an arm is no exposure of it."""
    pairs = zip(one or (0.0, 0.0), other or (0.0, 0.0), strict=True)
    return all(abs(a - b) < 1e-9 for a, b in pairs)
