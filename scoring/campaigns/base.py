"""What every kind of campaign is: something to watch for in one customer's facts.

Campaigns that watch for the same thing share one `Watch`, so that what a thousand of them cost
depends on how many things they watch for: one count, one wait, one note in the customer's book.
`scoring.campaigns.index` shares them out and finds the few that want a fact.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from msgspec import Struct
from msgspec.structs import replace

from schemas.control import Campaign
from schemas.event import TAGS
from scoring.campaigns.near import Fence
from scoring.conditions import Condition, View
from scoring.conditions import when as condition_on_event
from state.book import Armed, Book, Note
from state.customer import Customer
from state.fact import Fact
from state.profile import Profile
from state.tagging.recent import RING, Recent

if TYPE_CHECKING:
    from scoring.world import World

ANY: Final = "*"

NOTES_KEPT: Final = 64
"""At so many notes in a book, and at each multiple, those go whose campaigns have; one that is only
paused for a while finds its own again."""


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


Spoken = tuple[Campaign, Trigger]
"""A campaign that wants to speak, and about what."""


class Seen:
    """A fact as watches are shown it, with what they work out for each other."""

    __slots__ = (
        "_before", "_counts", "_recent", "_trigger", "_views", "customer", "event_id", "fact",
        "ingested_ms", "world",
    )  # fmt: skip

    def __init__(
        self, fact: Fact, event_id: str, ingested_ms: int, customer: Customer, world: World
    ) -> None:
        self.fact = fact
        self.event_id = event_id
        self.ingested_ms = ingested_ms
        self.customer = customer
        self.world = world
        self._counts: dict[object, int] = {}
        self._recent: Recent | None = None
        self._views: dict[int, View] | None = None
        self._before: View | None = None
        self._trigger: Trigger | None = None

    def trigger(self, **about: Any) -> Trigger:
        """A trigger about this fact; without more to say of it, the same for all."""
        made = self._trigger
        if made is None:
            made = self._trigger = Trigger(*self._fields())
        return replace(made, **about) if about else made

    def armed(self, due_ms: int, **about: Any) -> Armed:
        """A wait about this fact."""
        return Armed(due_ms, *self._fields(), **about)

    def _fields(self) -> tuple[str, int, int, str | None, str | None, str | None, float | None]:
        """What a trigger and a wait keep of the fact that they are about."""
        fact = self.fact
        return (
            self.event_id,
            fact.ts,
            self.ingested_ms,
            fact.item,
            fact.category,
            fact.brand,
            fact.price,
        )

    def count(
        self,
        actions: frozenset[str] | None,
        within_ms: int,
        item: str | None = None,
        category: str | None = None,
        enough: int = RING,
    ) -> int:
        """How many facts like this lie in the window that ends with it, up to ``enough``.

        Counted once for all who ask the same.
        """
        wanted = (actions, within_ms, item, category, enough)
        count = self._counts.get(wanted)
        if count is None:
            recent = self._recent
            if recent is None:
                recent = self._recent = self.customer.profile().tag(Recent)
            ts = self.fact.ts
            count = recent.matches(actions, ts - within_ms, ts, item, category, enough)
            self._counts[wanted] = count
        return count

    def view_at(self, now_ms: int) -> View:
        """The customer's profile as it is at a moment if nothing more happens."""
        views = self._views
        if views is None:
            views = self._views = {}
        view = views.get(now_ms)
        if view is None:
            view = views[now_ms] = View(self.customer.profile(), now_ms, self.world.segmentation)
        return view

    def before(self) -> View:
        """The customer's profile as it would be now without this fact, just before it."""
        view = self._before
        if view is None:
            fact, customer = self.fact, self.customer
            rest = [each for each in customer.tail if each is not fact]
            newest_ms = customer.book.newest_ms
            then_ms = newest_ms - 1 if fact.ts == newest_ms else newest_ms
            view = self._before = View(
                Profile(customer.base, rest), then_ms, self.world.segmentation
            )
        return view


class Watch:
    """Something to watch for, and the campaigns in force that wait for it.

    A kind is a subclass. It names the actions it wants (``actions``, None for any), perhaps a field
    of a fact without which it has no use for it (``needs``) or the ``fence`` that the customer must
    be in, and the actions that end its waits (``ended_by``); what is ``led`` is shown no facts but
    by a companion of its own. It answers a fact, or the end of a
    wait, with the campaigns that want to speak. What it must remember of a customer it keeps in the
    book under ``key``: a wait in ``armed``, anything else in ``notes``.
    """

    FILTERED: ClassVar[bool] = True
    """Whether a fact that the campaigns' ``when`` does not hold for is kept away."""

    HEARS_TAGS: ClassVar[bool] = False
    """Whether it is shown what the night concluded, though it wants no certain action."""

    __slots__ = ("actions", "ended_by", "fence", "key", "led", "needs", "specs", "when")

    def __init__(self, key: str, specs: tuple[Campaign, ...]) -> None:
        self.key: Final = key
        self.specs: Final = specs
        self.when: Final[Condition[Fact] | None] = (
            condition_on_event(specs[0].when) if specs else None
        )
        self.actions: frozenset[str] | None = None
        self.needs: str | None = None
        self.ended_by: frozenset[str] | None = frozenset()
        self.fence: Fence | None = None
        self.led = False

    @classmethod
    def pattern(cls, trigger: Any) -> tuple[object, ...]:
        """What triggers must have in common for their campaigns to share a watch."""
        raise NotImplementedError

    def companions(self) -> Iterable[Watch]:
        """Watches without campaigns whose notes this one reads; they may be others' as well."""
        return ()

    def on_fact(self, seen: Seen) -> Iterable[Spoken]:
        """Look at a fact that the customer already holds; who wants to speak now."""
        raise NotImplementedError

    def on_late_fact(self, seen: Seen) -> None:
        """Look at a fact that came later than the bound: nobody may speak of it."""

    def ends(self, fact: Fact, armed: Armed) -> bool:
        """Whether a fact of ``ended_by``, perhaps a late one, ends a wait of this watch."""
        return fact.ts >= armed.event_ms

    def on_due(self, armed: Armed, customer: Customer, world: World) -> Iterable[Spoken]:
        """A wait has run out, and is out of the book; who wants to speak now."""
        return ()

    def plans(self, armed: Armed) -> Iterable[tuple[Campaign, int]]:
        """Whose wait this is, and until when, UTC ms."""
        return [(spec, armed.due_ms) for spec in self.specs]

    def takes_back(
        self, spec: Campaign, fact: Fact, pending: Armed, customer: Customer, world: World
    ) -> bool:
        """Whether a fact, perhaps a late one, takes the reason from a message that waits.

        The customer holds the fact, and every watch has seen it.
        """
        return False

    def still(
        self, spec: Campaign, pending: Armed, now_ms: int, customer: Customer, world: World
    ) -> Armed | None:
        """What is left of the reason of a message that waited; None when nothing is."""
        return None if pending.until_ms and now_ms >= pending.until_ms else pending

    def fits(self, fact: Fact) -> bool:
        """Whether the campaigns' ``when`` holds for a fact."""
        return self.when is None or self.when.holds(fact)

    def note(self, seen: Seen) -> Note:
        """This watch's note in the customer's book, a fresh one where there is none."""
        notes = seen.customer.book.notes
        found = notes.get(self.key)
        if found is None:
            if notes and len(notes) % NOTES_KEPT == 0:
                watches = seen.world.index.watches
                # Keys of watches have a colon; what is without is a kind's own.
                for key in [key for key in notes if ":" in key and key not in watches]:
                    del notes[key]
            found = notes[self.key] = Note()
        return found


def names(actions: tuple[str, ...]) -> frozenset[str] | None:
    """The set of actions, None for any."""
    return None if ANY in actions else frozenset(actions)


def among(action: str, wanted: frozenset[str] | None) -> bool:
    """Whether an action is one of those wanted; the night's conclusions are nobody's doing."""
    return action != TAGS if wanted is None else action in wanted


def resting(spec: Campaign, at_ms: int, book: Book) -> bool:
    """Whether a campaign has spoken so recently that it does not look again yet."""
    last_ms = book.last_sent.get(spec.id)
    return last_ms is not None and at_ms < last_ms + spec.cooldown_ms > last_ms


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
