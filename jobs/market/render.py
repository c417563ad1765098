"""Rows as the bytes that a producer would send.

Most of an event is one of few fragments, so those are made once and an event is a concatenation.
"""

from __future__ import annotations

from typing import Final

from jobs.market.behaviour import ACTIONS, CART, CONSENT, LOGIN, PURCHASE, SEARCH
from jobs.market.catalogue import CATEGORIES, Catalogue
from jobs.market.customers import CITIES, CONSENTS, DEVICES, INCOMES, LEVELS, Population
from schemas.outcome import CHANNELS
from schemas.wire import encode

CONSENT_CHANGES: Final = tuple((channel, given) for channel in CHANNELS for given in (False, True))
"""What ``detail`` of a consent row means."""

_COUNTED: Final = frozenset((CART, PURCHASE))
_MAX_QUANTITY: Final = 4


class Renderer:
    """Turns rows of one population and catalogue into JSON."""

    def __init__(self, population: Population, catalogue: Catalogue) -> None:
        self._people = population
        self._items = [_members(catalogue.fields(item)) for item in range(catalogue.size)]
        self._quantities = [_members({"quantity": count}) for count in range(_MAX_QUANTITY)]
        self._searches = [_members({"query": name}) for name in CATEGORIES]
        self._changes = [_members({"consent": {name: on}}) for name, on in CONSENT_CHANGES]
        self._devices = [_members({"device": {"type": t, "os": os}}) for t, os in DEVICES]
        self._places = [
            _members({"location": {"lat": lat, "lon": lon, "region": region, "city": city}})
            for city, region, _, _, _, lat, lon in CITIES
        ]
        self._homes = [
            _members({"city": city, "region": region, "country": country, "zone": zone})
            for city, region, country, zone, *_ in CITIES
        ]
        self._consents = [
            _members({"consent": {name: bool(n >> i & 1) for i, name in enumerate(CONSENTS)}})
            for n in range(1 << len(CONSENTS))
        ]
        self._standings = [
            [_members({"member_level": level, "income_band": income}) for income in INCOMES]
            for level in LEVELS
        ]
        self._actions = [name.encode() for name in ACTIONS]

    def event(
        self, event_id: bytes, key: bytes, ts: int, customer: int, action: int, item: int, more: int
    ) -> bytes:
        """One event; ``more`` is the row's ``detail``."""
        if item >= 0:
            tail = self._items[item]
            if action in _COUNTED:
                tail += self._quantities[more]
        elif action == SEARCH:
            tail = self._searches[more]
        elif action == LOGIN:
            people = self._people
            tail = self._devices[people.device[customer]] + self._places[people.city[customer]]
        elif action == CONSENT:
            tail = self._changes[more]
        else:
            tail = self.identity(customer)
        return self.assemble(event_id, key, self._actions[action], ts, tail)

    def known(
        self, event_id: bytes, key: bytes, ts: int, customer: int, bought: int | None = None
    ) -> bytes:
        """The event that tells all about a customer, perhaps with something they bought."""
        tail, action = self.identity(customer), b"identify"
        if bought is not None:
            tail, action = tail + self._items[bought] + self._quantities[1], b"purchase"
        return self.assemble(event_id, key, action, ts, tail)

    def identity(self, customer: int) -> bytes:
        """Traits and consent, as members of an event."""
        people = self._people
        return b'%b%b,"traits":{"gender":"%b","birth_year":%d,"phone":"138%08d",%b%b}' % (
            self._consents[people.consent[customer]],
            self._devices[people.device[customer]],
            b"female" if people.female[customer] else b"male",
            people.birth_year[customer],
            customer,
            b'"email":"customer%d@mail.example"' % customer,
            self._homes[people.city[customer]]
            + self._standings[people.level[customer]][people.income[customer]],
        )

    @staticmethod
    def assemble(event_id: bytes, key: bytes, action: bytes, ts: int, tail: bytes) -> bytes:
        """The event of these members; ``tail`` starts with a comma or is empty."""
        return b'{"event_id":"%b","user_id":"%b","action":"%b","ts":%d%b}' % (
            event_id,
            key,
            action,
            ts,
            tail,
        )


def _members(fields: dict[str, object]) -> bytes:
    """``,"a":1,"b":2`` of a dictionary."""
    return b"," + encode(fields)[1:-1]
