"""A logistic model that learns in the stream, one example at a time.

FTRL-proximal with a learning rate for each coordinate (McMahan et al., "Ad click prediction: a view
from the trenches", KDD 2013, algorithm 1), on features standardised by what was seen so far
(Welford, 1962). Its logit is calibrated as it goes by Platt's slope and intercept (Platt, 1999),
which learn by the same rule. Every example is predicted before it is learned from, so the mean loss
so far is that of the model in use (progressive validation: Blum, Kalai and Langford, COLT 1999).

Plain Python in a fixed order of operations: the same examples give the same bytes.

Layout of the state, little-endian: magic ``BKO``, version ``u8``, width ``u32``, then doubles: the
`Rates`, the tally, and for each coordinate z, n; for each feature mean and sum of squares.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import exp, isfinite, log, log1p, sqrt
from operator import mul
from typing import Final, NamedTuple, Self

VERSION: Final = 1
MAX_WIDTH: Final = 65_536
FEATURE_LIMIT: Final = 1e12
LOGIT_LIMIT: Final = 30.0
"""Beyond this a probability differs from 0 or 1 by less than 1e-13."""

_MAGIC: Final = b"BKO"
_HEADER: Final = struct.Struct("<3sBI")


class CorruptLearner(ValueError):
    """State bytes that we did not write, or not whole."""


class Rates(NamedTuple):
    """How a learner learns: ``alpha``, ``beta``, ``l1`` and ``l2`` of the paper.

    ``alpha`` is the rate of the first steps, ``beta`` puts off their slowing down, ``l1`` keeps
    weights at zero, ``l2`` small.
    """

    alpha: float = 0.3
    beta: float = 1.0
    l1: float = 0.0
    l2: float = 1.0


class Progress(NamedTuple):
    """How well every example was predicted before it was learned from; 0 before the first.

    ``raw_log_loss`` is that without calibration, ``base_log_loss`` that of predicting the mean of
    the labels so far for everybody.
    """

    examples: int
    positives: int
    accuracy: float
    log_loss: float
    raw_log_loss: float
    base_log_loss: float


class _Tally:
    """Sums of `Progress`."""

    __slots__ = ("base", "calibrated", "examples", "positives", "raw", "right")

    def __init__(self, sums: Sequence[float] = (0.0,) * 6) -> None:
        self.examples, self.positives, self.right = sums[:3]
        self.calibrated, self.raw, self.base = sums[3:]

    def values(self) -> tuple[float, ...]:
        counts = self.examples, self.positives, self.right
        return (*counts, self.calibrated, self.raw, self.base)


class _Ftrl:
    """Weights in their lazy form: ``z`` and ``n`` of the paper; ``start`` is what they begin at."""

    __slots__ = ("n", "rates", "start", "w", "z")

    def __init__(self, start: Sequence[float], rates: Rates) -> None:
        self.rates = rates
        self.start = tuple(start)
        self.z = [0.0] * len(self.start)
        self.n = [0.0] * len(self.start)
        self.w = list(self.start)

    def logit(self, x: Sequence[float]) -> float:
        logit: float = sum(map(mul, self.w, x))
        return min(max(logit, -LOGIT_LIMIT), LOGIT_LIMIT)

    def learn(self, x: Sequence[float], error: float) -> None:
        """``error`` is the prediction less the label."""
        z, n, w, alpha = self.z, self.n, self.w, self.rates.alpha
        for place, value in enumerate(x):
            if not value:
                continue
            gradient = error * value
            square = gradient * gradient
            sigma = (sqrt(n[place] + square) - sqrt(n[place])) / alpha
            z[place] += gradient - sigma * (w[place] - self.start[place])
            n[place] += square
            w[place] = self._weight(place)

    def restore(self, z: Sequence[float], n: Sequence[float]) -> None:
        self.z, self.n = list(z), list(n)
        self.w = [self._weight(place) for place in range(len(self.z))]

    def _weight(self, place: int) -> float:
        alpha, beta, l1, l2 = self.rates
        z = self.z[place]
        if abs(z) <= l1:
            return self.start[place]
        slow = (beta + sqrt(self.n[place])) / alpha + l2
        return self.start[place] - (z - (l1 if z > 0 else -l1)) / slow


class OnlineLogistic:
    """A calibrated logistic model over ``width`` features, and its record so far."""

    def __init__(self, width: int, rates: Rates = Rates()) -> None:  # noqa: B008 - immutable
        if not 0 < width <= MAX_WIDTH:
            raise ValueError(f"a width of {width}; want 1 to {MAX_WIDTH}")
        if not (rates.alpha > 0 and min(rates) >= 0 and all(map(isfinite, rates))):
            raise ValueError(f"rates {rates}: want numbers that are not negative, alpha above 0")
        self.width: Final = width
        self.rates: Final = rates
        self._tally = _Tally()
        self._mean = [0.0] * width
        self._squares = [0.0] * width
        self._model = _Ftrl((0.0,) * (width + 1), rates)
        self._platt = _Ftrl((1.0, 0.0), Rates(alpha=0.05, beta=1.0))

    def predict(self, features: Sequence[float]) -> float:
        """The calibrated probability of a 1.

        Raises:
            ValueError: the features are not ``width`` numbers within `FEATURE_LIMIT`.
        """
        self._check(features)
        return _sigmoid(self._platt.logit((self._model.logit(self._scaled(features)), 1.0)))

    def learn(self, features: Sequence[float], label: int) -> float:
        """Predict an example, then learn from it; returns what was predicted.

        Raises:
            ValueError: the features are not ``width`` numbers within `FEATURE_LIMIT`, or the label
                is not 0 or 1. Nothing was learned.
        """
        self._check(features)
        if label not in (0, 1):
            raise ValueError(f"the label is {label!r}; want 0 or 1")
        # The scale is learned from the features before the prediction: they are known then.
        self._measure(features)
        x = self._scaled(features)
        logit = self._model.logit(x)
        calibrated = self._platt.logit((logit, 1.0))
        raw, chance = _sigmoid(logit), _sigmoid(calibrated)
        self._count(label, logit, calibrated)
        self._model.learn(x, raw - label)
        self._platt.learn((logit, 1.0), chance - label)
        return chance

    @property
    def progress(self) -> Progress:
        """How well it did so far."""
        tally = self._tally
        count = max(tally.examples, 1.0)
        return Progress(
            int(tally.examples),
            int(tally.positives),
            tally.right / count,
            tally.calibrated / count,
            tally.raw / count,
            tally.base / count,
        )

    def linear(self) -> tuple[tuple[float, ...], float]:
        """Weights and bias over the features as they come, with scale and calibration folded in.

        Their sigmoid is what `predict` says, but where a logit is beyond `LOGIT_LIMIT`, which is
        cut off there and here is not.
        """
        slope, shift = self._platt.w
        *slopes, intercept = self._model.w
        count = max(self._tally.examples, 1.0)
        weights = [
            slope * weight / sqrt(squares / count) if squares > 0 else 0.0
            for weight, squares in zip(slopes, self._squares, strict=True)
        ]
        return tuple(weights), slope * intercept + shift - sum(map(mul, weights, self._mean))

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        model, platt = self._model, self._platt
        values = (
            *self.rates,
            *self._tally.values(),
            *model.z,
            *model.n,
            *platt.z,
            *platt.n,
            *self._mean,
            *self._squares,
        )
        header = _HEADER.pack(_MAGIC, VERSION, self.width)
        return header + struct.pack(f"<{len(values)}d", *values)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a learner.

        Raises:
            CorruptLearner: wrong magic, unknown version, wrong length, or impossible figures.
        """
        if len(data) < _HEADER.size:
            raise CorruptLearner(f"learner of {len(data)} bytes; the header alone has 8")
        magic, version, width = _HEADER.unpack_from(data)
        if magic != _MAGIC or version != VERSION:
            raise CorruptLearner(
                f"learner starts with {data[:4]!r}; this release reads version {VERSION}"
            )
        rates, tally, coordinates = len(Rates._fields), len(_Tally.__slots__), width + 1
        sizes = (rates, tally, coordinates, coordinates, 2, 2, width, width)
        if len(data) != _HEADER.size + 8 * sum(sizes):
            raise CorruptLearner(f"learner of width {width} and {len(data)} bytes is cut or longer")
        values = struct.unpack_from(f"<{sum(sizes)}d", data, _HEADER.size)
        if not all(map(isfinite, values)):
            raise CorruptLearner("learner holds what is no finite number")
        parts = []
        for size in sizes:
            parts.append(values[:size])
            values = values[size:]
        try:
            learner = cls(width, Rates(*parts[0]))
            learner._tally = _Tally(parts[1])
            learner._model.restore(parts[2], parts[3])
            learner._platt.restore(parts[4], parts[5])
        except ValueError as error:
            raise CorruptLearner(f"learner of impossible figures: {error}") from error
        learner._mean, learner._squares = list(parts[6]), list(parts[7])
        return learner

    def _check(self, features: Sequence[float]) -> None:
        if len(features) != self.width:
            raise ValueError(f"{len(features)} features; this model has {self.width}")
        for place, value in enumerate(features):
            if not abs(value) <= FEATURE_LIMIT:  # which NaN is not either
                raise ValueError(
                    f"feature {place} is {value}; want a number within ±{FEATURE_LIMIT:g}"
                )

    def _measure(self, features: Sequence[float]) -> None:
        count = self._tally.examples + 1.0
        mean, squares = self._mean, self._squares
        for place, value in enumerate(features):
            away = value - mean[place]
            mean[place] += away / count
            squares[place] += away * (value - mean[place])

    def _scaled(self, features: Sequence[float]) -> list[float]:
        """Standardised features, and a 1 for the intercept."""
        count = max(self._tally.examples, 1.0)
        scaled = [
            (value - mean) / sqrt(squares / count) if squares > 0 else 0.0
            for value, mean, squares in zip(features, self._mean, self._squares, strict=True)
        ]
        scaled.append(1.0)
        return scaled

    def _count(self, label: int, logit: float, calibrated: float) -> None:
        tally = self._tally
        negatives = tally.examples - tally.positives
        tally.base += _loss(log((tally.positives + 1) / (negatives + 1)), label)
        tally.examples += 1.0
        tally.positives += label
        tally.right += (calibrated > 0) == bool(label)
        tally.calibrated += _loss(calibrated, label)
        tally.raw += _loss(logit, label)


def _sigmoid(logit: float) -> float:
    if logit >= 0:
        return 1.0 / (1.0 + exp(-logit))
    odds = exp(logit)
    return odds / (1.0 + odds)


def _loss(logit: float, label: int) -> float:
    """The log loss, without the rounding of a probability near 0 or 1."""
    against = -logit if label else logit
    return max(against, 0.0) + log1p(exp(-abs(against)))
