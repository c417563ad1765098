"""Which campaigns want a fact: found by its action, what it carries and what it is about.

A thousand campaigns are loaded and a fact concerns a handful. So campaigns that watch for the same
thing share a `Watch`; watches are filed by action, those that need a field are looked at only when
the fact has it, and those whose ``when`` asks for one value of a field are found by that value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from xxhash import xxh3_64_hexdigest

from schemas.control import Campaign
from schemas.event import TAGS
from scoring.campaigns.base import Watch, among
from scoring.campaigns.near import Near
from scoring.conditions.check import Atom, Single
from scoring.conditions.syntax import And, Tree
from state.book import Book
from state.fact import Fact

if TYPE_CHECKING:
    from scoring.world import World

_MEMO_LIMIT: Final = 1_024

_encode: Final = msgspec.json.Encoder(order="sorted").encode
_Value = Callable[[Fact], Any]
_ByValue = tuple[tuple[_Value, dict[Any, tuple[Watch, ...]]], ...]


class _Filed(NamedTuple):
    """The watches of one action.

    ``always`` are for every such fact, ``near`` for those with a place, ``asking`` for those that
    their ``when`` holds for, ``having`` by a field that the fact must have, ``by_value`` by a value
    of a field, and ``equal`` too where there is nothing else to ask. ``ended`` are those whose
    waits a fact of this action may end, by key.
    """

    always: tuple[Watch, ...]
    near: Near | None
    asking: tuple[Watch, ...]
    having: tuple[tuple[str, tuple[Watch, ...]], ...]
    by_value: _ByValue
    equal: _ByValue
    ended: dict[str, Watch]


class OfKind(NamedTuple):
    """The watches of one kind, and a text that names this set of them."""

    watches: tuple[Watch, ...]
    signature: str


class Index:
    """The watches of the campaigns in force."""

    def __init__(self, kinds: dict[type, type[Watch]], specs: Iterable[Campaign] = ()) -> None:
        """Share the campaigns out; ``kinds`` are the watches by type of trigger."""
        shared: defaultdict[str, list[Campaign]] = defaultdict(list)
        for spec in sorted(specs, key=_id):
            shared[watch_key(kinds, spec)].append(spec)
        made = [kinds[type(group[0].trigger)](key, tuple(group)) for key, group in shared.items()]
        companions = [companion for watch in made for companion in watch.companions()]
        self.watches: Final = {watch.key: watch for watch in (*companions, *made)}
        """Watches by their key in a customer's book; companions look at a fact first."""
        self.watch_of: Final = {
            spec.id: watch for watch in self.watches.values() for spec in watch.specs
        }
        """Watches by the ids of their campaigns."""
        self._filed: Final[dict[str, _Filed]] = {}
        self._of_kind: Final[dict[type[Watch], OfKind]] = {}

    def of_kind(self, kind: type[Watch]) -> OfKind:
        """The watches of one kind."""
        found = self._of_kind.get(kind)
        if found is None:
            watches = tuple(watch for watch in self.watches.values() if type(watch) is kind)
            keys = sorted(watch.key for watch in watches)
            found = self._of_kind[kind] = OfKind(watches, xxh3_64_hexdigest(_encode(keys)))
        return found

    def ended_by(self, action: str) -> dict[str, Watch]:
        """The watches, by key, whose waits a fact of this action may end."""
        return (self._filed.get(action) or self._file(action)).ended

    def wanting(self, fact: Fact, book: Book, world: World) -> Sequence[Watch]:
        """The watches to show a fact of the customer with this book to."""
        filed = self._filed.get(fact.action) or self._file(fact.action)
        always, near, asking, having, by_value, equal, _ = filed
        if near is not None and fact.location is not None:
            always = (*always, *near.wanting(fact.location, book, world))
        for value_of, of_value in equal:
            watches = of_value.get(value_of(fact))
            if watches is not None:
                always = (*always, *watches)
        if not asking and not having and not by_value:
            return always
        narrowed = list(asking)
        for field, watches in having:
            if getattr(fact, field) is not None:
                narrowed += watches
        for value_of, of_value in by_value:
            watches = of_value.get(value_of(fact), ())
            if watches:
                narrowed += watches
        if not narrowed:
            return always
        return [*always, *[watch for watch in narrowed if _fits(watch, fact)]]

    def listening(self, action: str) -> list[Campaign]:
        """The campaigns that look at facts of an action, by id; some only at certain ones."""
        found = [
            spec
            for watch in self.watches.values()
            if among(action, watch.actions)
            for spec in watch.specs
        ]
        return sorted(found, key=_id)

    def _file(self, action: str) -> _Filed:
        filed = self._sorted_out(action)
        if len(self._filed) < _MEMO_LIMIT:  # actions are the producers' words
            self._filed[action] = filed
        return filed

    def _sorted_out(self, action: str) -> _Filed:
        always: list[Watch] = []
        asking: list[Watch] = []
        fences: list[Watch] = []
        having: defaultdict[str, list[Watch]] = defaultdict(list)
        by_value: dict[str, tuple[_Value, defaultdict[Any, list[Watch]]]] = {}
        equal: dict[str, tuple[_Value, defaultdict[Any, list[Watch]]]] = {}
        for watch in self.watches.values():
            if watch.led or not _hears(watch, action):
                continue
            asked = _equality(watch.when.tree) if watch.FILTERED and watch.when else None
            if asked is not None and watch.when is not None:
                alone = asked is watch.when.tree and watch.needs is None
                _, values = (equal if alone else by_value).setdefault(
                    asked.name.name, (asked.name.get, defaultdict(list))
                )
                for value in asked.equals or ():
                    values[value].append(watch)
            elif watch.fence is not None:
                fences.append(watch)
            elif watch.needs is not None:
                having[watch.needs].append(watch)
            elif watch.FILTERED and watch.when is not None:
                asking.append(watch)
            else:
                always.append(watch)
        return _Filed(
            tuple(always),
            Near(fences) if fences else None,
            tuple(asking),
            tuple((field, tuple(watches)) for field, watches in having.items()),
            _frozen(by_value),
            _frozen(equal),
            {key: watch for key, watch in self.watches.items() if among(action, watch.ended_by)},
        )


def watch_key(kinds: dict[type, type[Watch]], spec: Campaign) -> str:
    """The key of what a campaign watches for; equal for campaigns that can share it."""
    trigger = spec.trigger
    pattern = kinds[type(trigger)].pattern(trigger)
    kind = str(type(trigger).__struct_config__.tag)
    return f"{kind}:{xxh3_64_hexdigest(_encode((pattern, spec.when)))}"


def _frozen(found: dict[str, tuple[_Value, defaultdict[Any, list[Watch]]]]) -> _ByValue:
    return tuple(
        (get, {value: tuple(watches) for value, watches in values.items()})
        for get, values in found.values()
    )


def _hears(watch: Watch, action: str) -> bool:
    if action == TAGS and watch.HEARS_TAGS and watch.actions is None:
        return True
    return among(action, watch.actions)


def _fits(watch: Watch, fact: Fact) -> bool:
    if watch.needs is not None and getattr(fact, watch.needs) is None:
        return False
    return not watch.FILTERED or watch.fits(fact)


def _equality(tree: Tree[Atom[Fact]]) -> Single[Fact] | None:
    """The part of a ``when`` that asks for one of some values, without which it cannot hold."""
    match tree:
        case Single() if tree.equals is not None and tree.name.name != "action":
            return tree
        case And(parts):
            return next((found for part in parts if (found := _equality(part))), None)
    return None


def _id(spec: Campaign) -> str:
    return spec.id
