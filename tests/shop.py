"""A morning of a real shop, put through the stream while its TaskManager is killed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.live import Live, Place
from operators.shard import shard_of
from schemas.control import Campaign, EventTrigger
from schemas.learning_rules import Learning
from tests.builders import HOUR, on_cart

SHOP_EVENTS = 3_000
Event = dict[str, Any]


@dataclass(frozen=True)
class Shop:
    """What went in: the shop's events, and one of a later hour in each shard.

    The later ones let every shard's clock pass all that the shop's carts may wait for.
    """

    events: list[Event]
    closing: list[Event]
    places: list[Place | None]

    @property
    def closed_ms(self) -> int:
        """Decisions of an earlier time than this rest on the shop's events alone."""
        return self.closing[0]["ts"]


def visit(stream: Live, events: list[Event]) -> Shop:
    """Put a shop's events through the stream."""
    users = {shard_of(f"closing-{n}", 16): f"closing-{n}" for n in range(200)}
    assert len(users) == 16
    closed_ms = max(event["ts"] for event in events) + 2 * HOUR
    closing = [
        {"event_id": f"e-{user}", "user_id": user, "action": "login", "ts": closed_ms}
        for user in users.values()
    ]
    half = len(events) // 2
    places = stream.send(*events[:half])
    stream.kill_task_manager()
    places += stream.send(*events[half:], *closing)
    stream.ends(places)
    stream.projected()
    return Shop(events, closing, places)


def on_share() -> Campaign:
    """Speaks whenever something is shared, which nobody does in the shop; and learns."""
    share = EventTrigger(("share",))
    return on_cart(id="on-share", name="On share", trigger=share, learning=Learning())
