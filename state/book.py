"""What the engine itself did about a customer and still waits for: sends, waits, exposures."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

SENDS_LIMIT: Final = 64
EXPOSURES_LIMIT: Final = 32
LAST_SENT_LIMIT: Final = 64
DEFERRED_LIMIT: Final = 8
ORDERS_LIMIT: Final = 16

_BOUNCED: Final = "bounced"
ARRIVED: Final = frozenset({"delivered", "opened", "clicked", "converted"})


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


class Send(Struct, array_like=True, frozen=True, gc=False):
    """A message that counts for the caps from its decision on.

    It is reserved until ``until_ms``: a bounce before that takes it back. 0 is confirmed, by its
    arrival; time confirms it as well, and nobody has to be woken for that. Of one that was taken
    back it is the time of that, less than 0: what is decided of an earlier time counts it still.
    """

    at_ms: int
    until_ms: int
    digest: int
    channel: str
    category: str


class Exposure(Struct, array_like=True, frozen=True, gc=False):
    """A decision that was published and whose attribution window is open.

    ``answered`` are the kinds of outcome that were rewarded. ``paid_day`` names the day whose
    budget it was paid from while that may still be given back. Of a ``holdout`` nothing was sent;
    it is kept for the orders in its window, to compare with. ``variant`` and ``case`` are those of
    the decision's `schemas.learning.Example`.
    """

    decision_id: str
    campaign: str
    channel: str
    at_ms: int
    closes_ms: int
    answered: tuple[str, ...] = ()
    paid_day: str = ""
    cost_micros: int = 0
    holdout: bool = False
    variant: str = ""
    case: int = -1


class Touch(Struct, array_like=True, frozen=True, gc=False):
    """A decision whose window held an order, and what was told of that: as in `Reward`.

    The one without ``decision_id`` stands for nobody: what is organic.
    """

    decision_id: str
    campaign: str
    channel: str
    at_ms: int
    holdout: bool = False
    share: float = 0.0
    credit_micros: int = 0
    orders: int = 0
    order_micros: int = 0


class Order(Struct, array_like=True):
    """A conversion, remembered so that it counts once and can be given back.

    ``at_ms`` is 0 while only a refund or cancellation of it was heard of, ``named`` the decision
    that it answers. ``returns`` are the ids (`state.fact.id64`) of the last outcomes that gave
    back ``returned_micros``, or all of it: ``void``.
    """

    order_id: str
    at_ms: int = 0
    value_micros: int = 0
    named: str = ""
    touches: list[Touch] = field(default_factory=list)
    returned_micros: int = 0
    void: bool = False
    returns: list[int] = field(default_factory=list)

    @property
    def left_micros(self) -> int:
        """What was not given back."""
        return 0 if self.void else max(0, self.value_micros - self.returned_micros)

    @property
    def stands(self) -> bool:
        """Whether it was not given back as a whole."""
        return not self.void and (self.returned_micros < self.value_micros or not self.returns)


class Book(Struct, array_like=True):
    """The engine's side of a customer's state; bounded by the limits above.

    ``armed`` and ``notes`` are kept by what is watched for, which many campaigns may share
    (`scoring.campaigns.base.Watch.key`).
    ``hints`` are the outstanding entries of the shard's due list for this customer, earliest first.
    ``deferred`` are, by campaign, the messages that wait for the end of the quiet hours; their
    ``event_ms`` is when the reason arose. ``bounced`` counts, by channel, the messages that came
    back since one got through.
    """

    revision: int = 0
    newest_ms: int = 0
    sends: list[Send] = field(default_factory=list)
    last_sent: dict[str, int] = field(default_factory=dict)
    armed: dict[str, Armed] = field(default_factory=dict)
    exposures: list[Exposure] = field(default_factory=list)
    hints: list[int] = field(default_factory=list)
    notes: dict[str, Note] = field(default_factory=dict)
    deferred: dict[str, Armed] = field(default_factory=dict)
    bounced: dict[str, int] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)

    def order(self, order_id: str) -> Order | None:
        """The order of an id, if it is remembered."""
        for order in self.orders:
            if order.order_id == order_id:
                return order
        return None

    def remember_order(self, order: Order) -> None:
        """Keep an order; of too many, the one that was heard of first is forgotten."""
        self.orders.append(order)
        if len(self.orders) > ORDERS_LIMIT:
            del self.orders[0]

    def record_spoken(self, campaign: str, now_ms: int) -> None:
        """Remember when a campaign spoke, for its cooldown."""
        last_sent = self.last_sent
        last_sent[campaign] = now_ms
        if len(last_sent) > LAST_SENT_LIMIT:
            del last_sent[min(last_sent, key=last_sent.__getitem__)]

    def record_send(self, send: Send) -> None:
        """Count a message for the caps."""
        sends = self.sends
        sends.append(send)
        if len(sends) > SENDS_LIMIT:
            del sends[min(range(len(sends)), key=lambda place: sends[place].at_ms)]

    def settle_send(self, digest: int, kind: str, channel: str | None, ts: int) -> None:
        """An outcome of a message: what arrived is confirmed, what bounced in time counts no more.

        ``channel`` is what the outcome says; what was sent knows better.
        """
        arrived = kind in ARRIVED
        if not arrived and kind != _BOUNCED:
            return
        for place, send in enumerate(self.sends):
            if send.digest == digest:
                channel = send.channel
                if arrived and send.until_ms >= 0:
                    self.sends[place] = replace(send, until_ms=0)
                elif ts <= send.until_ms:
                    self.sends[place] = replace(send, until_ms=-ts)
                break
        if channel is None:
            return
        if arrived:
            self.bounced.pop(channel, None)
        else:
            self.bounced[channel] = self.bounced.get(channel, 0) + 1

    def opted_in(self, channel: str) -> None:
        """The customer opted in anew: what came back before says nothing of the channel now."""
        self.bounced.pop(channel, None)

    def sends_since(
        self, start_ms: int, at_ms: int, channel: str | None, category: str | None
    ) -> int:
        """How many messages after ``start_ms`` count at ``at_ms``.

        None is any channel or category.
        """
        count = 0
        for send in self.sends:
            if (
                send.at_ms > start_ms
                and (send.until_ms >= 0 or at_ms < -send.until_ms)
                and (channel is None or send.channel == channel)
                and (category is None or send.category == category)
            ):
                count += 1
        return count

    def next_moment_ms(self) -> int | None:
        """When the first wait or deferred message is due, in event time; None for never."""
        first = None
        for armed in self.armed.values():
            if first is None or armed.due_ms < first:
                first = armed.due_ms
        if self.deferred:
            for waiting in self.deferred.values():
                if first is None or waiting.due_ms < first:
                    first = waiting.due_ms
        return first

    def wake_at_ms(self) -> int | None:
        """When this customer must be looked at again, in event time; None for never."""
        first = self.next_moment_ms() if self.armed or self.deferred else None
        for exposure in self.exposures:
            if first is None or exposure.closes_ms < first:
                first = exposure.closes_ms
        return first
