"""What the engine itself did about a customer and still waits for: sends, waits, exposures."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

SENDS_LIMIT: Final = 16
EXPOSURES_LIMIT: Final = 32
LAST_SENT_LIMIT: Final = 64


class Armed(Struct, array_like=True, frozen=True, gc=False):
    """What happened at ``event_ms``, about which somebody wants to speak at ``due_ms``.

    It is what a kind of campaign waits with, and what is kept of a trigger that must wait. After
    ``until_ms`` (0 for never) there is no reason left.
    """

    due_ms: int
    event_id: str
    event_ms: int
    ingested_ms: int
    item: str | None = None
    category: str | None = None
    brand: str | None = None
    price: float | None = None
    place: str | None = None
    items: tuple[str, ...] = ()
    until_ms: int = 0


class Note(Struct, array_like=True, gc=False):
    """What a kind of campaign remembers of a customer; each kind says what the fields hold."""

    count: int = 0
    seen: int = 0
    since_ms: int = 0
    last_ms: int = 0
    text: str | None = None
    times: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


class Exposure(Struct, array_like=True, frozen=True, gc=False):
    """A decision that was published and whose attribution window is open."""

    decision_id: str
    campaign: str
    channel: str
    closes_ms: int
    clicked: bool = False


class Book(Struct, array_like=True):
    """The engine's side of a customer's state; bounded by the limits above.

    ``armed`` and ``notes`` are kept by what is watched for, which many campaigns may share
    (`scoring.campaigns.base.Watch.key`).
    ``hints`` are the outstanding entries of the shard's due list for this customer, earliest first.
    """

    revision: int = 0
    newest_ms: int = 0
    sends: list[int] = field(default_factory=list)
    last_sent: dict[str, int] = field(default_factory=dict)
    armed: dict[str, Armed] = field(default_factory=dict)
    exposures: list[Exposure] = field(default_factory=list)
    hints: list[int] = field(default_factory=list)
    notes: dict[str, Note] = field(default_factory=dict)

    def record_send(self, campaign: str, now_ms: int) -> None:
        """Remember a send for the frequency cap and the campaign's cooldown."""
        self.sends.append(now_ms)
        if len(self.sends) > SENDS_LIMIT:
            del self.sends[0]
        self.last_sent[campaign] = now_ms
        if len(self.last_sent) > LAST_SENT_LIMIT:
            del self.last_sent[min(self.last_sent, key=lambda name: self.last_sent[name])]

    def sends_since(self, start_ms: int) -> int:
        """How many messages were sent after ``start_ms``, at most `SENDS_LIMIT`."""
        return sum(1 for sent in self.sends if sent > start_ms)

    def wake_at_ms(self) -> int | None:
        """When this customer must be looked at again, in event time; None for never."""
        first = None
        for armed in self.armed.values():
            if first is None or armed.due_ms < first:
                first = armed.due_ms
        for exposure in self.exposures:
            if first is None or exposure.closes_ms < first:
                first = exposure.closes_ms
        return first
