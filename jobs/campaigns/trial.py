"""Campaigns tried on what was recorded: whom they would reach, and what they would displace.

The recorded events go through the stream's own core twice, once under what is in force and once
with the files put over it. Whatever cannot be known exactly is wrong in both alike, and so drops
out of the comparison: of what customers did before the first event only their consent and traits
are known, waits longer than the recorded time do not end in it, and campaigns have all the money
they need (what they would spend is told instead).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from jobs.sandbox import Said, Sandbox
from schemas.control import Campaign
from schemas.errors import InvalidRecord
from schemas.event import BehaviorEvent, Consent, Traits
from schemas.wire import decode_control, encode, instant_ms
from state.customer import Customer
from state.fact import fact_of_event, id64
from state.tagging.consent import PURPOSES
from state.tagging.consent import Consent as ConsentTag
from state.tagging.traits import NAMES
from state.tagging.traits import Traits as TraitsTag

BATCH: Final = 500


class Recorded(NamedTuple):
    """An event or an outcome as Kafka has it; the clock is the least of the partitions'."""

    topic: str
    user_id: str
    payload: bytes
    ingested_ms: int
    partition: int = 0


class _Time(Struct):
    ts: int | str


_when: Final = msgspec.json.Decoder(_Time).decode


class Reach(Struct):
    """What one campaign would do; ``silent`` counts why it would not speak."""

    sends: int = 0
    held_out: int = 0
    customers: set[str] = field(default_factory=set)
    cost: float = 0.0
    silent: Counter[str] = field(default_factory=Counter)


class Trial(Struct):
    """What campaigns would do before and after a change.

    ``displaced`` are, by running campaign, the sends that would no longer be, each with why:
    ``not asked`` where the campaign would not even have wanted to speak. ``sent_before`` and
    ``sent_after`` are all sends, by decision, with their campaign.
    """

    records: int = 0
    before: dict[str, Reach] = field(default_factory=dict)
    after: dict[str, Reach] = field(default_factory=dict)
    displaced: dict[str, Counter[str]] = field(default_factory=dict)
    sent_before: dict[str, str] = field(default_factory=dict)
    sent_after: dict[str, str] = field(default_factory=dict)


def run_trial(
    records: Iterable[Recorded],
    in_force: Mapping[str, bytes],
    changed: Mapping[str, bytes],
    known: Callable[[str], bytes | None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
    until_ms: int = 0,
) -> Trial:
    """Try control records on what was recorded, which comes in the order of Kafka's time.

    ``changed`` goes over ``in_force``, both by control key; ``known`` gives the newest published
    state of a customer; after the last record the wall clock runs on to ``until_ms``. Nothing is
    kept and nothing has an effect.
    """
    trial = Trial()
    before = _Run(in_force, trial.before)
    after = _Run({**in_force, **changed}, trial.after, before.sent)
    for batch in _batches(records):
        for user, at_ms in _first_times(batch).items():
            if user not in before.met:
                state = _beginning(user, known(user), at_ms - before.lateness_ms)
                before.meet(user, state)
                after.meet(user, state)
        before.take(batch)
        after.take(batch)
        trial.records += len(batch)
        progress(len(batch))
    before.wait(until_ms)
    after.wait(until_ms)
    for name, campaign in before.sent.items():
        if name not in after.sent and f"campaign/{campaign}" not in changed:
            why = after.refused.get(name, "not asked")
            trial.displaced.setdefault(campaign, Counter())[why] += 1
    trial.sent_before, trial.sent_after = before.sent, after.sent
    return trial


class _Run:
    """The core under one set of control records, and what it said."""

    def __init__(
        self,
        control: Mapping[str, bytes],
        reached: dict[str, Reach],
        missed: Container[str] = (),
    ) -> None:
        """``missed`` are the decisions of which it must be known why they are not made here."""
        self._sandbox = Sandbox([(key, _unmetered(key, value)) for key, value in control.items()])
        policy = self._sandbox.decider.world.policy
        self._costs = policy.channel_cost
        self.lateness_ms = policy.lateness_ms
        self._reached = reached
        self._missed = missed
        self.met: set[str] = set()
        self.sent: dict[str, str] = {}
        self.refused: dict[str, str] = {}

    def meet(self, user: str, state: bytes | None) -> None:
        """Let a customer be known from now on."""
        self.met.add(user)
        if state is not None:
            self._sandbox.put(user, state)

    def take(self, batch: list[Recorded]) -> None:
        """Take in a batch and count what comes of it."""
        self._count(self._sandbox.take_all(batch))

    def wait(self, until_ms: int) -> None:
        """Let the wall clock run, and count what falls due by it."""
        self._count(self._sandbox.tick(until_ms))

    def _count(self, said: Said) -> None:
        for decision in said.decisions:
            reach = self._reached.setdefault(decision.campaign_id, Reach())
            if decision.status == "holdout":
                reach.held_out += 1
                continue
            reach.sends += 1
            reach.cost += self._costs.get(decision.channel, 0.0)
            reach.customers.add(decision.user_id)
            self.sent[decision.decision_id] = decision.campaign_id
        for refusal in said.refusals:
            self._reached.setdefault(refusal.campaign_id, Reach()).silent[refusal.reason] += 1
            if refusal.decision_id in self._missed:
                self.refused[refusal.decision_id] = refusal.reason


def _batches(records: Iterable[Recorded]) -> Iterable[list[Recorded]]:
    batch: list[Recorded] = []
    for record in records:
        batch.append(record)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _first_times(batch: Iterable[Recorded]) -> dict[str, int]:
    """When each customer's oldest record of a batch happened, maybe long before Kafka had it.

    A record whose time cannot be read becomes a dead letter, whenever it was.
    """
    found: dict[str, int] = {}
    for user, payload, came_ms in ((r.user_id, r.payload, r.ingested_ms) for r in batch):
        try:
            at_ms = min(instant_ms(_when(payload).ts), came_ms)
        except (msgspec.DecodeError, UnicodeDecodeError, InvalidRecord):
            at_ms = came_ms
        found[user] = min(at_ms, found.get(user, at_ms))
    return found


def _beginning(user: str, state: bytes | None, at_ms: int) -> bytes | None:
    """The customer before anything was recorded: what they agreed to and who they are, no more.

    It is so long before their first event that none which is in time comes before it, and none is
    late because of it.
    """
    if state is None:
        return None
    profile = Customer.decode(state).profile()
    agreed, traits = profile.tag(ConsentTag), profile.tag(TraitsTag)
    consent = Consent(**{purpose: agreed.agreed(purpose) for purpose in PURPOSES})
    event = BehaviorEvent(
        "before",
        user,
        "login",
        at_ms - 1,
        consent=consent,
        traits=Traits(**{name: traits.get(name) for name in NAMES}),  # type: ignore[arg-type]
    )
    customer = Customer()
    customer.accept(fact_of_event(event, at_ms - 1, id64(event.event_id), 1))
    return customer.encode()


def _unmetered(key: str, value: bytes) -> bytes:
    if not key.startswith("campaign/"):
        return value
    try:
        record = decode_control(value)
    except InvalidRecord:
        return value  # which the core refuses as the stream did
    return encode(replace(record, budget=None)) if isinstance(record, Campaign) else value
