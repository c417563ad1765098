"""Customers in groups that are compared: the held-out with the spoken-to, a variant with another.

A customer is followed for `MEASURED_MS` from when they were first heard of. Then what they did is
final and they are forgotten but for a bit pattern (`scoring.effect.passed`), by which they are not
counted a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from scoring.effect.passed import holds, put
from scoring.experiments.readout import Cell
from scoring.experiments.sums import Sums

MEASURED_MS: Final = 30 * 86_400_000
"""How long what a customer does counts, in Kafka's time from when they were first heard of."""
SEP: Final = "\x1f"

First = tuple[int, int]
"""When a customer came into a group: event time, and the decision's digest to tell equals apart."""


class Unit(Struct, array_like=True):
    """A customer, and what they did, for each metric; ``group`` is empty before they have one.

    ``before`` is what they had done before they came into it.
    """

    came_ms: int
    did: list[float]
    group: str = ""
    channel: str = ""
    segment: str = ""
    before: tuple[float, ...] = ()
    first: First = (0, 0)


class Groups(Struct, array_like=True):
    """The customers of one comparison, how many came into each group, and their sums by `Cell`."""

    metrics: tuple[str, ...]
    units: dict[str, Unit] = field(default_factory=dict)
    sums: dict[str, Sums] = field(default_factory=dict)
    exposed: dict[str, int] = field(default_factory=dict)
    passed: bytearray = field(default_factory=bytearray)

    def enter(
        self,
        user_id: str,
        group: str,
        first: First,
        channel: str,
        segment: str,
        before: Sequence[float],
        came_ms: int,
    ) -> bool:
        """Let a customer be of a group, the first that they came into; says if that is news."""
        unit = self._unit(user_id, came_ms)
        if unit is None or (unit.group and first >= unit.first):
            return False
        self._count(unit, -1)
        unit.group, unit.first, unit.channel, unit.segment = group, first, channel, segment
        unit.before = tuple(before)
        self._count(unit, 1)
        return True

    def did(self, user_id: str, amounts: Sequence[float], came_ms: int) -> None:
        """Add to what a customer did; who is in no group yet may come into one."""
        unit = self._unit(user_id, came_ms)
        if unit is None:
            return
        self._count(unit, -1)
        unit.did = [before + more for before, more in zip(unit.did, amounts, strict=True)]
        self._count(unit, 1)

    def settle(self, since_ms: int) -> None:
        """Let go of the customers who were first heard of before then; their figures stay."""
        for user_id, unit in [each for each in self.units.items() if each[1].came_ms < since_ms]:
            if unit.group:
                put(self.passed, user_id)
            del self.units[user_id]

    def erase(self, gone: Callable[[str], bool]) -> int:
        """Forget customers; what they did stays in the sums. Returns how many there were.

        Whoever asks keeps what comes of them later away from here.
        """
        found = [user_id for user_id in self.units if gone(user_id)]
        for user_id in found:
            del self.units[user_id]
        return len(found)

    def cells(self) -> Mapping[Cell, Sums]:
        """The sums, by group, metric and segment; ``channel sms`` is a segment as well."""
        return {Cell(*name.split(SEP)): sums for name, sums in self.sums.items()}

    def of(self, cell: Cell) -> Sums:
        """The sums of a cell; empty where there are none."""
        return self.sums.get(SEP.join(cell)) or Sums()

    def _unit(self, user_id: str, came_ms: int) -> Unit | None:
        unit = self.units.get(user_id)
        if unit is None and not holds(self.passed, user_id):
            unit = self.units[user_id] = Unit(came_ms, [0.0] * len(self.metrics))
        return unit

    def _count(self, unit: Unit, sign: int) -> None:
        if not unit.group:
            return
        self.exposed[unit.group] = self.exposed.get(unit.group, 0) + sign
        segments = [""]
        if unit.channel:
            segments.append(f"channel {unit.channel}")
        if unit.segment:
            segments.append(f"segment {unit.segment}")
        for place, metric in enumerate(self.metrics):
            for segment in segments:
                sums = self.sums.setdefault(SEP.join((unit.group, metric, segment)), Sums())
                change = sums.add if sign > 0 else sums.remove
                change(unit.did[place], unit.before[place])
