"""Who the customers are: latent tastes, habits and consent, as columns of numbers.

Nothing here is a Python object per customer: a million customers are some forty megabytes and
are drawn in about a second.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jobs.market.catalogue import BRANDS_PER_CATEGORY, CATEGORIES
from schemas.outcome import CHANNELS

DORMANT_RATIO: Final = 0.08
"""Customers who bought once and have been silent since; a win-back is for them."""

FAVOURITES: Final = 3
AFFINITY: Final = (1.0, 0.6, 0.35)
"""How much a customer likes their first, second and third category; others not at all."""

CITIES: Final = (
    # city, region, country, IANA zone, hours ahead of UTC, latitude, longitude
    ("Shanghai", "Huadong", "CN", "Asia/Shanghai", 8, 31.23, 121.47),
    ("Chengdu", "Xinan", "CN", "Asia/Shanghai", 8, 30.57, 104.07),
    ("Shenzhen", "Huanan", "CN", "Asia/Shanghai", 8, 22.54, 114.06),
    ("Osaka", "Kansai", "JP", "Asia/Tokyo", 9, 34.69, 135.50),
    ("Singapore", "Central", "SG", "Asia/Singapore", 8, 1.35, 103.82),
    ("Dubai", "Dubai", "AE", "Asia/Dubai", 4, 25.20, 55.27),
    ("Lagos", "Lagos", "NG", "Africa/Lagos", 1, 6.52, 3.38),
    ("Recife", "Pernambuco", "BR", "America/Recife", -3, -8.05, -34.88),
    ("Bogota", "Cundinamarca", "CO", "America/Bogota", -5, 4.71, -74.07),
)
"""Places whose clocks never change, so that a habit is the same hour of UTC all year."""

DEVICES: Final = (("phone", "android"), ("phone", "ios"), ("desktop", "windows"), ("tablet", "ios"))
LEVELS: Final = ("basic", "silver", "gold", "platinum")
INCOMES: Final = ("low", "middle", "high")
CONSENTS: Final = ("marketing", *CHANNELS)

_CONSENT_RATIO: Final = {"marketing": 0.93, "sms": 0.62, "push": 0.78, "email": 0.82}
_FEMALE_LEANING: Final = 8  # of the first categories; the others lean to men


class Population:
    """Columns of latent truth, indexed by customer number."""

    def __init__(self, seed: int, size: int, bot_ratio: float) -> None:
        rng = np.random.default_rng((seed, 2))
        draw = rng.standard_normal

        def normal() -> NDArray[np.float32]:
            return draw(size, dtype=np.float32)

        self.size = size
        self.engagement = normal()
        self.preference = draw((size, len(CHANNELS)), dtype=np.float32)
        self.price_sensitivity = _sigmoid(normal() - 0.4)
        self.bot = rng.random(size, dtype=np.float32) < bot_ratio
        self.dormant = ~self.bot & (rng.random(size, dtype=np.float32) < DORMANT_RATIO)

        first = rng.integers(0, len(CATEGORIES), size, dtype=np.int16)
        step = rng.integers(1, len(CATEGORIES) // 2, size, dtype=np.int16)
        self.favourites = np.stack(
            [(first + step * place) % len(CATEGORIES) for place in range(FAVOURITES)], axis=1
        ).astype(np.int8)
        self.brand = rng.integers(0, BRANDS_PER_CATEGORY, size, dtype=np.int8)

        self.city = rng.integers(0, len(CITIES), size, dtype=np.int8)
        offset = np.array([city[4] for city in CITIES], dtype=np.int16)
        peak_local = np.rint(19.5 + 3.5 * normal()).astype(np.int16)
        self.peak_utc_hour = ((peak_local - offset[self.city]) % 24).astype(np.int8)
        self.device = rng.integers(0, len(DEVICES), size, dtype=np.int8)

        leaning = np.where(self.favourites[:, 0] < _FEMALE_LEANING, 0.92, 0.25)
        self.female = rng.random(size, dtype=np.float32) < leaning
        self.birth_year = np.clip(1986 + 12 * normal(), 1935, 2007).astype(np.int16)
        self.income = np.digitize(normal() - 2 * (self.price_sensitivity - 0.4), (-0.6, 0.7))
        self.level = np.digitize(self.engagement + 0.6 * normal(), (0.2, 1.1, 2.0))
        self.income, self.level = self.income.astype(np.int8), self.level.astype(np.int8)

        self.consent = np.zeros(size, dtype=np.int8)
        for place, name in enumerate(CONSENTS):
            ratio = _CONSENT_RATIO[name]
            lean = 0.4 * self.preference[:, place - 1] if place else 0.0
            chance = _sigmoid(np.log(ratio / (1 - ratio)) + lean)
            self.consent |= (rng.random(size, dtype=np.float32) < chance).astype(np.int8) << place

        activity = np.exp(0.6 * self.engagement + 0.7 * normal())
        self.activity = np.where(self.dormant, 0, np.where(self.bot, 3, activity))
        self._index_by_hour()

    def _index_by_hour(self) -> None:
        """Sort customers by habit, so that whoever is about at an hour is found by bisection."""
        self._order = np.argsort(self.peak_utc_hour, kind="stable").astype(np.int32)
        self._cumulated = np.cumsum(self.activity[self._order], dtype=np.float64)
        ends = np.searchsorted(self.peak_utc_hour[self._order], np.arange(25))
        edges = np.concatenate(([0.0], self._cumulated))[ends]
        self._low, self._high = edges[:-1], edges[1:]
        weight = wakefulness(np.arange(24)[:, None] - np.arange(24)) * (self._high - self._low)
        self._habit = np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)

    def visitors(self, rng: np.random.Generator, utc_hour: NDArray[np.int64]) -> NDArray[np.int64]:
        """One customer for each visit, by activity and by habit of the visit's hour."""
        group = (rng.random(len(utc_hour))[:, None] >= self._habit[utc_hour]).sum(axis=1)
        group = np.minimum(group, 23)
        low, high = self._low[group], self._high[group]
        at = low + rng.random(len(utc_hour)) * (high - low)
        place = np.minimum(np.searchsorted(self._cumulated, at, side="right"), self.size - 1)
        chosen: NDArray[np.int64] = self._order[place].astype(np.int64)
        return chosen

    @staticmethod
    def user_id(customer: int) -> str:
        """The id in events."""
        return f"u{customer:07d}"

    def index_of(self, user_id: str) -> int | None:
        """The number of a customer, or None when the id is not ours."""
        digits = user_id[1:]
        if user_id[:1] != "u" or len(digits) < 7 or not (digits.isascii() and digits.isdecimal()):
            return None
        customer = int(digits)
        return customer if customer < self.size else None

    def consents(self, customer: int) -> dict[str, bool]:
        """Consent as first given: marketing, then the channels."""
        bits = int(self.consent[customer])
        return {name: bool(bits >> place & 1) for place, name in enumerate(CONSENTS)}


def wakefulness(hours_from_peak: NDArray[Any]) -> NDArray[np.float64]:
    """How likely a customer is about, against 1 at the peak of their habit."""
    wave: NDArray[np.float64] = (1 + np.cos(2 * np.pi * hours_from_peak / 24)) / 2
    return 0.15 + 0.85 * wave**3


def _sigmoid(logit: NDArray[np.float32]) -> NDArray[np.float32]:
    ratio: NDArray[np.float32] = 1 / (1 + np.exp(-logit))
    return ratio
