"""Records of the profiles and decisions topics, as the stream would publish them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobs.view_batch import read_batch
from operators.names import CHALLENGER
from schemas.audit import Shadow
from schemas.control import ChannelMix, Posterior, control_key
from schemas.decision import Decision, Offer
from schemas.profile import Profile
from schemas.topics import AUDIT, CONTROL, DECISIONS, PROFILES
from schemas.wire import encode
from state.customer import Customer
from state.fact import Fact, id64
from state.stores.base import Batch, View

NOON_MS = 1_700_000_000_000


class Message:
    """A consumed record, as confluent-kafka hands it over."""

    def __init__(
        self,
        value: bytes | None,
        key: str | bytes = "",
        topic: str = PROFILES,
        offset: int = 0,
        partition: int = 0,
        error: Any = None,
    ) -> None:
        self._value, self._key, self._topic = value, key, topic
        self._offset, self._partition, self._error = offset, partition, error

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes:
        return self._key.encode() if isinstance(self._key, str) else self._key

    def topic(self) -> str:
        return self._topic

    def offset(self) -> int:
        return self._offset

    def partition(self) -> int:
        return self._partition

    def error(self) -> Any:
        return self._error

    def timestamp(self) -> tuple[int, int]:
        return 1, NOON_MS


def fact(number: int, ts: int | None = None, **fields: Any) -> Fact:
    """The ``number``-th fact of a customer, one a second unless told."""
    ts = NOON_MS + number * 1_000 if ts is None else ts
    return Fact(
        ts,
        id64(f"e{number}"),
        number,
        **{
            "action": ("view", "cart", "purchase")[number % 3],
            "item": f"item-{number % 7}",
            "category": f"category-{number % 4}",
            "brand": f"brand-{number % 5}",
            "price": 10.0 + number,
            "quantity": 1,
            **fields,
        },
    )


def profile(user: str, facts: Iterable[Fact], since: int = 0) -> Profile:
    """What is published once a customer's facts are accepted, those after ``since`` being new."""
    customer = Customer()
    for each in facts:
        customer.accept(each)
    book = customer.book
    return Profile(user, book.newest_ms, book.revision, since, customer.encode())


def story(user: str, length: int, start: int = 0) -> list[Profile]:
    """A customer's records when each fact comes in a batch of its own."""
    facts = [fact(number) for number in range(start + 1, start + length + 1)]
    return [profile(user, facts[:seen], since=start + seen - 1) for seen in range(1, length + 1)]


def decision(user: str, number: int = 1, **fields: Any) -> Decision:
    """A decision half a second after the fact of the same number."""
    return Decision(
        **{
            "decision_id": f"d{number}",
            "status": "send",
            "user_id": user,
            "campaign_id": "viewed-again",
            "campaign_version": 1,
            "trigger": "event",
            "trigger_event_id": f"e{number}",
            "channel": "push",
            "propensity": 0.5,
            "score": 0.1,
            "decided_at_ms": NOON_MS + number * 1_000 + 500,
            "ingested_ms": NOON_MS,
            "expires_at_ms": NOON_MS,
            "model_version": "prior",
            "feature_hash": "",
            "policy_version": 1,
            "posterior_version": 0,
            "offer": Offer("coupon", 0.1),
            "reason": "",
            **fields,
        }
    )


def posterior(campaign: str, clicks: int, of: int, **fields: Any) -> Posterior:
    """An arm with so many clicks of so many messages, as often changed."""
    known = {"channel": "sms", "version": of + clicks, "met": (float(of),), "won": (float(clicks),)}
    return Posterior(campaign, alpha=1.0 + clicks, beta=19.0 + of - clicks, **{**known, **fields})


def mix(campaign: str, sms: float, at_ms: int = NOON_MS, **fields: Any) -> ChannelMix:
    """Shares of two channels from a time on."""
    return ChannelMix(campaign, ("sms", "push"), (sms, 1.0 - sms), 0, at_ms, **fields)


def shadow(examples: int, **fields: Any) -> Shadow:
    """What is told of the challenger after so many examples."""
    rows = [("d1", 1, 0.1, 0.2)]
    return Shadow(rows, examples, examples // 9, 0.3, 0.2, 0.4, NOON_MS + examples, **fields)


Record = Profile | Decision | Posterior | ChannelMix | Shadow


def message(record: Record, offset: int = 0) -> Message:
    """A record as it is consumed."""
    if isinstance(record, Posterior | ChannelMix):
        return Message(encode(record), control_key(record), CONTROL, offset)
    if isinstance(record, Shadow):
        return Message(encode(record), CHALLENGER, AUDIT, offset)
    topic = PROFILES if isinstance(record, Profile) else DECISIONS
    return Message(encode(record), record.user_id, topic, offset)


def batch(view: View, *records: Record) -> Batch:
    """Records as a view takes them."""
    taken, poison = read_batch(map(message, records), view)  # type: ignore[arg-type]
    assert not poison
    return taken
