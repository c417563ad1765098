"""The kinds of tag. A new kind is one file and one line here; the contract suite finds it."""

from __future__ import annotations

from typing import Final

from state.tagging.base import Tag
from state.tagging.brands import Brands
from state.tagging.carts import Carts
from state.tagging.categories import Categories
from state.tagging.channels import Channels
from state.tagging.consent import Consent
from state.tagging.counters import Counters
from state.tagging.devices import Devices
from state.tagging.habits import Habits
from state.tagging.location import Location
from state.tagging.prices import Prices
from state.tagging.recent import Recent
from state.tagging.rfm import Rfm
from state.tagging.sessions import Sessions
from state.tagging.tempo import Tempo
from state.tagging.traits import Traits

TAG_KINDS: Final[dict[str, type[Tag]]] = {
    "counters": Counters,
    "recent": Recent,
    "categories": Categories,
    "brands": Brands,
    "carts": Carts,
    "rfm": Rfm,
    "sessions": Sessions,
    "tempo": Tempo,
    "habits": Habits,
    "prices": Prices,
    "channels": Channels,
    "consent": Consent,
    "traits": Traits,
    "location": Location,
    "devices": Devices,
}
"""Name → kind. The order is that of the persisted bytes: append only."""
