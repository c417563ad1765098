"""What had been learned at each moment of a rerun, looked up in the control log.

A decision is made at a moment: all that wants to speak to one customer at one event, or as one time
comes. The core asks `scoring.world.World.sealed` for each of them by the id that its decision would
have, before anything else. That is when the world here goes to where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from jobs.audit.pins import ControlLog, Timeline
from schemas.control import ChannelMix, Posterior
from schemas.decision import Decision
from scoring.gates.base import decision_id
from scoring.world import World

KeyT = TypeVar("KeyT")
RecordT = TypeVar("RecordT", Posterior, ChannelMix)


class Moments(dict[str, Decision]):
    """Takes the place of a world's ``sealed``: each asking moves the world.

    ``positions`` are those of decisions, by id; at any other the world is as of ``now``.
    """

    def __init__(self, world: World, log: ControlLog, positions: Mapping[str, int]) -> None:
        super().__init__()
        self.now = 0
        self.position = 0
        self._world = world
        self._positions = positions
        world.mixes.posteriors = _Past(log.posteriors, self)
        world.mixes.mixes = _Past(log.mixes, self)
        world.sealed = self

    def get(self, name: str, default: Any = None) -> Any:
        """Go to where a decision was made; what it was, if a crash came after."""
        position = self._positions.get(name, self.now)
        if position != self.position:
            self.position = position
            self._world.mixes.plan_anew()
        return super().get(name, default)

    def __bool__(self) -> bool:
        return True


class _Past(dict[KeyT, RecordT]):
    """What was learned as of the position that the moments are at; it cannot be changed."""

    def __init__(self, lines: Mapping[KeyT, Timeline[RecordT]], moments: Moments) -> None:
        super().__init__()
        self._lines: Mapping[KeyT, Timeline[RecordT]] = lines
        self._moments = moments

    def get(self, key: KeyT, _default: Any = None) -> Any:
        line = self._lines.get(key)
        return None if line is None else line.at(self._moments.position)


def positions_of(decision: Decision, position: int) -> dict[str, int]:
    """The ids of all that spoke or wanted to at a decision's moment, at its position."""
    user, event = decision.user_id, decision.trigger_event_id
    found = {decision_id(user, each.campaign_id, event): position for each in decision.losers}
    found[decision.decision_id] = position
    return found
