"""Where the customer was last, and in which towns they are met."""

from __future__ import annotations

from typing import Final

from msgspec import field

from state.fact import Fact
from state.tagging.base import Dimension, Tag, Value, ratio, seconds_since
from state.tagging.weights import heaviest

CITIES_LIMIT: Final = 6


class Location(Tag):
    """The newest fix by event time, and fixes by city; the `CITIES_LIMIT` most met are kept."""

    FIELD = "location"

    at_ms: int = 0
    lat: float | None = None
    lon: float | None = None
    accuracy_m: float | None = None
    city: str | None = None
    region: str | None = None
    fixes: int = 0
    cities: dict[str, int] = field(default_factory=dict)

    def apply(self, fact: Fact) -> None:
        """Take the fact's location in."""
        fix = fact.location
        if fix is None:
            return
        self.fixes += 1
        if fact.ts >= self.at_ms:
            self.at_ms = fact.ts
            self.lat, self.lon, self.accuracy_m = fix.lat, fix.lon, fix.accuracy_m
            self.city, self.region = fix.city, fix.region
        if fix.city is not None:
            cities = self.cities
            cities[fix.city] = cities.get(fix.city, 0) + 1
            if len(cities) > CITIES_LIMIT + 2:
                self.cities = dict(heaviest(cities, CITIES_LIMIT))

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """The newest fix, and the town met most."""
        top = heaviest(self.cities, 1)
        return {
            "location_lat": self.lat,
            "location_lon": self.lon,
            "location_accuracy_m": self.accuracy_m,
            "location_city": self.city,
            "location_region": self.region,
            "location_age_s": seconds_since(self.at_ms, now_ms),
            "location_fixes_count": self.fixes,
            "location_cities_count": min(CITIES_LIMIT, len(self.cities)),
            "location_top_city": top[0][0] if top else None,
            "location_top_city_share": (
                ratio(top[0][1], sum(self.cities.values())) if top else None
            ),
        }

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """The newest fix, and the town met most."""
        return (
            Dimension("location_lat", "float", "deg", "latitude of the newest fix"),
            Dimension("location_lon", "float", "deg", "longitude of the newest fix"),
            Dimension("location_accuracy_m", "float", "m", "accuracy of the newest fix"),
            Dimension("location_city", "str", "", "town of the newest fix"),
            Dimension("location_region", "str", "", "region of the newest fix"),
            Dimension("location_age_s", "float", "s", "time since the newest fix"),
            Dimension("location_fixes_count", "int", "fixes", "ever"),
            Dimension("location_cities_count", "int", "towns", f"met in, up to {CITIES_LIMIT}"),
            Dimension("location_top_city", "str", "", "town met in most often"),
            Dimension("location_top_city_share", "float", "ratio", "of the fixes with a town"),
        )
