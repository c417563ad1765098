"""What every kind of campaign is: a trigger over one customer's facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from schemas.control import Campaign
from state.book import Armed, Book
from state.customer import Customer
from state.fact import Fact

if TYPE_CHECKING:
    from scoring.world import World

ANY: Final = "*"


class Trigger(Struct, frozen=True):
    """What set a campaign off; times are event time, UTC ms.

    ``place`` is a shop, ``items`` is what to recommend, and after ``until_ms`` (0 for never) there
    is no reason left to speak.
    """

    event_id: str
    at_ms: int
    ingested_ms: int
    item: str | None
    category: str | None
    brand: str | None = None
    price: float | None = None
    place: str | None = None
    items: tuple[str, ...] = ()
    until_ms: int = 0


class CampaignKind:
    """A campaign made ready to run; one instance for each campaign in force, shared by customers.

    A kind says which facts it wants (`listens_to`) and answers with a `Trigger` when it wants to
    speak. What it must remember of a customer it keeps in the customer's book.
    """

    __slots__ = ("spec",)

    def __init__(self, spec: Campaign) -> None:
        self.spec = spec

    def listens_to(self, action: str) -> bool:
        """Whether a fact of this action matters to this campaign."""
        raise NotImplementedError

    def on_fact(
        self, fact: Fact, event_id: str, ingested_ms: int, customer: Customer
    ) -> Trigger | None:
        """Look at a fact that the customer already holds; a trigger if it is time to speak."""
        raise NotImplementedError

    def on_late_fact(self, fact: Fact, book: Book) -> None:
        """Look at a fact that came later than the bound: it may end a wait, never begin one."""

    def on_due(self, armed: Armed) -> Trigger | None:
        """The wait that this campaign armed has run out; a trigger if it still wants to speak."""
        return None

    def takes_back(self, spec: Campaign, fact: Fact, pending: Armed) -> bool:
        """Whether a fact, perhaps a late one, takes the reason from a message that waits."""
        return False

    def still(
        self, spec: Campaign, pending: Armed, now_ms: int, customer: Customer, world: World
    ) -> bool:
        """Whether a message that waited still has its reason when its time has come."""
        return not pending.until_ms or now_ms < pending.until_ms


def names(actions: tuple[str, ...]) -> frozenset[str] | None:
    """The set of actions, None for any."""
    return None if ANY in actions else frozenset(actions)


def trigger_of(armed: Armed, at_ms: int) -> Trigger:
    """The trigger in what waited until ``at_ms``."""
    return Trigger(
        armed.event_id,
        at_ms,
        armed.ingested_ms,
        armed.item,
        armed.category,
        armed.brand,
        armed.price,
        armed.place,
        armed.items,
        armed.until_ms,
    )
