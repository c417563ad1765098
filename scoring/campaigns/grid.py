"""Many thousand places on a grid of cells: which is the nearest within a radius?"""

from __future__ import annotations

from math import asin, ceil, cos, floor, radians, sin, sqrt
from typing import Final

CELL_DEG: Final = 0.05
"""Side of a cell: five and a half kilometres from south to north."""

_ROWS: Final = round(180 / CELL_DEG)
_COLUMNS: Final = round(360 / CELL_DEG)
_EARTH_M: Final = 6_371_008.8
_DEGREE_M: Final = _EARTH_M * radians(1)

Place = tuple[str, float, float]
"""Id, latitude, longitude."""


class PlaceGrid:
    """Places by cell. A look-up touches only the cells that the circle may reach."""

    def __init__(self) -> None:
        self._cells: dict[int, dict[str, Place]] = {}
        self._cell_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._cell_of)

    def put(self, name: str, lat: float, lon: float) -> None:
        """Add a place, or move it."""
        self.remove(name)
        cell = _row(lat) * _COLUMNS + _column(lon)
        self._cells.setdefault(cell, {})[name] = (name, lat, lon)
        self._cell_of[name] = cell

    def remove(self, name: str) -> None:
        """Take a place away, if it is there."""
        cell = self._cell_of.pop(name, None)
        if cell is None:
            return
        del self._cells[cell][name]
        if not self._cells[cell]:
            del self._cells[cell]

    def get(self, name: str) -> Place | None:
        """A place by its name."""
        cell = self._cell_of.get(name)
        return None if cell is None else self._cells[cell][name]

    def nearest(self, lat: float, lon: float, radius_m: float) -> Place | None:
        """The nearest place within the radius, of equally near ones the first by name."""
        places = self.within(lat, lon, radius_m)
        if len(places) < 2:
            return places[0] if places else None
        return min(places, key=lambda place: (distance_m(lat, lon, place[1], place[2]), place[0]))

    def within(self, lat: float, lon: float, radius_m: float) -> list[Place]:
        """The places within the radius, in no order that means anything."""
        cells = self._cells
        if not cells:
            return []
        found: list[Place] = []
        reach_deg = radius_m / _DEGREE_M
        columns = _columns_within(lat, lon, reach_deg)
        for row in range(_row(max(-90.0, lat - reach_deg)), _row(min(90.0, lat + reach_deg)) + 1):
            first = row * _COLUMNS
            for column in columns:
                here = cells.get(first + column)
                if here is None:
                    continue
                for place in here.values():
                    if distance_m(lat, lon, place[1], place[2]) <= radius_m:
                        found.append(place)
        return found


def distance_m(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Metres between two points over the ground (haversine on a sphere, right to 0.5 %)."""
    phi, other_phi = radians(lat), radians(other_lat)
    across = sin((other_phi - phi) / 2) ** 2
    across += cos(phi) * cos(other_phi) * sin(radians(other_lon - lon) / 2) ** 2
    return 2 * _EARTH_M * asin(min(1.0, sqrt(across)))


def _row(lat: float) -> int:
    return min(_ROWS - 1, floor((lat + 90) / CELL_DEG))


def _column(lon: float) -> int:
    return floor((lon + 180) / CELL_DEG) % _COLUMNS


def _columns_within(lat: float, lon: float, reach_deg: float) -> range | list[int]:
    """Columns that a circle may reach; near a pole that is all of them."""
    poleward = min(90.0, abs(lat) + reach_deg)
    shrunk = cos(radians(poleward))
    if shrunk * 180 <= reach_deg:
        return range(_COLUMNS)
    steps = ceil(reach_deg / shrunk / CELL_DEG)
    middle = _column(lon)
    if 2 * steps + 1 >= _COLUMNS:
        return range(_COLUMNS)
    return [column % _COLUMNS for column in range(middle - steps, middle + steps + 1)]
