"""One customer out of several ids: counters add up, the stricter consent and the older arm stay.

What an id is known for comes from the archive (`read_people`); how two of one customer become one
is `merge`, which is associative and commutative, so that it does not matter in which order the
parties' files came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct, field

from jobs.archive.identity import Identities
from jobs.archive.read import days, read
from jobs.archive.tables import DECISIONS, EVENTS, OUTCOMES, ArchiveTable
from schemas.event import TAGS
from schemas.event import Consent as Said
from state.fact import Fact
from state.tagging.consent import PURPOSES, Consent

Party = Literal["first", "second", "third"]
PARTIES: Final[dict[str, Party]] = {"first": "first", "second": "second", "third": "third"}


class Agreed(Struct, frozen=True):
    """What a customer agreed to and refused, of `PURPOSES`.

    ``yes`` is None where nothing was ever said to us; then nothing is agreed to, and a merge goes
    by the other side. An id that did speak and left a purpose out has not agreed to it.
    """

    yes: frozenset[str] | None = None
    no: frozenset[str] = frozenset()

    def allows(self, channel: str) -> bool:
        """Whether marketing by this channel is agreed to."""
        return self.yes is not None and {"marketing", channel} <= self.yes - self.no


class Person(Struct, frozen=True):
    """What is known of a customer under one id, or several.

    ``actions`` counts by action. ``arms`` has, by experiment, when its variant was first given
    (UTC ms), and which.
    """

    ids: frozenset[str]
    actions: dict[str, int] = field(default_factory=dict)
    agreed: Agreed = Agreed()
    arms: dict[str, tuple[int, str]] = field(default_factory=dict)


def merge(one: Person, other: Person) -> Person:
    """The customer that two disjoint sets of ids are.

    A channel is allowed only where no side refused it and each side that ever spoke allowed it. Who
    was given two variants of an experiment keeps the older.
    """
    actions = Counter(one.actions)
    actions.update(other.actions)
    arms = dict(one.arms)
    for experiment, arm in other.arms.items():
        arms[experiment] = min(arm, arms.get(experiment, arm))
    return Person(one.ids | other.ids, dict(actions), stricter(one.agreed, other.agreed), arms)


def stricter(one: Agreed, other: Agreed) -> Agreed:
    """What both sides allow."""
    if one.yes is None or other.yes is None:
        yes = other.yes if one.yes is None else one.yes
    else:
        yes = one.yes & other.yes
    return Agreed(yes, one.no | other.no)


def spoken_to(said: Said | None, party: Party) -> Said | None:
    """What counts of a party's word on consent: all of our own, of others only a refusal.

    Who agreed to somebody else's messages has not agreed to ours.
    """
    if said is None or party == "first":
        return said
    kept = {name: False for name in PURPOSES if getattr(said, name) is False}
    return Said(**kept) if kept else None


def read_people(root: Path, known: Identities, until: date = date.max) -> dict[str, Person]:
    """Each id that is joined with others, and what is known under it up to the day ``until``.

    Holds these ids and one day of the archive in memory.
    """
    actions: dict[str, Counter[str]] = {user: Counter() for user in known.customers}
    consents = {user: Consent() for user in known.customers}
    arms: dict[str, dict[str, tuple[int, str]]] = {user: {} for user in known.customers}
    words = [f"consent_{purpose}" for purpose in PURPOSES]
    for row in _rows(root, EVENTS, until, ["user_id", "action", "ts", *words]):
        user, action, ts, *said = row
        if user in consents:
            spoken = Said(**dict(zip(PURPOSES, said, strict=True)))
            consents[user].apply(Fact(ts, 0, 0, action, consent=spoken))
            if action != TAGS:
                actions[user][action] += 1
    for row in _rows(root, OUTCOMES, until, ["user_id", "kind", "ts", "channel"]):
        user, kind, ts, channel = row
        if user in consents:
            consents[user].apply(Fact(ts, 0, 0, kind, channel=channel))
    for user, ts, variant in _rows(root, DECISIONS, until, ["user_id", "decided_at_ms", "variant"]):
        if user in arms and variant:
            experiment, _, arm = variant.partition("/")
            arms[user][experiment] = min((ts, arm), arms[user].get(experiment, (ts, arm)))
    people = {}
    for user, consent in consents.items():
        yes = frozenset(name for name, (_, agreed) in consent.known.items() if agreed)
        spoke = bool(consent.known) and user in known.ours
        agreed = Agreed(yes if spoke else None, frozenset(consent.known) - yes)
        people[user] = Person(frozenset({user}), dict(actions[user]), agreed, arms[user])
    return people


def merged(people: Mapping[str, Person], customers: Mapping[str, str]) -> dict[str, Person]:
    """The customers of several ids, by the id that stands for each."""
    found: dict[str, Person] = {}
    for user in sorted(people):
        so_far = found.get(customers[user])
        found[customers[user]] = people[user] if so_far is None else merge(so_far, people[user])
    return found


def withdrawn(own: Agreed, whole: Agreed) -> frozenset[str]:
    """What was agreed to under an own id and does not hold for the customer as a whole."""
    return (own.yes or frozenset()) - own.no - ((whole.yes or frozenset()) - whole.no)


def _rows(root: Path, table: ArchiveTable, until: date, columns: list[str]) -> Any:
    wanted = [day for day in days(root, table) if day <= until]
    for _, found in read(root, table, wanted, columns):
        yield from zip(*(found[name].to_pylist() for name in columns), strict=True)
