"""Champion against challenger, on the latest day that neither was trained on.

A challenger wins only if its log loss is lower with the stated confidence by a paired bootstrap
over customers, and nothing else got worse: calibration, any group, the file's size, the latency.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from jobs.trainers import metrics
from jobs.trainers.base import Matrix
from scoring.model import LogisticModel

CONFIDENCE: Final = 0.99
DRAWS: Final = 500
LEAST_ROWS: Final = 500
ECE_SLACK: Final = 0.005
GROUP_SLACK: Final = 0.05
GROUP_ROWS: Final = 500
MOST_BYTES: Final = 65_536
LATENCY_RATIO: Final = 2.0


class Check(Struct, frozen=True):
    """One thing looked at, and whether the challenger passed it."""

    name: str
    passed: bool
    champion: float
    challenger: float
    note: str = ""


class Verdict(Struct, frozen=True):
    """What the gate says. ``gain`` is by how much the challenger's log loss is lower."""

    champion: str
    challenger: str
    won: bool
    rows: int
    gain: float
    low: float
    high: float
    confidence: float
    checks: tuple[Check, ...]

    @property
    def reason(self) -> str:
        """Why it did not win, in one line; empty for a winner."""
        return "; ".join(f"{c.name}: {c.note}" for c in self.checks if not c.passed)


def judge(
    champion: LogisticModel,
    challenger: LogisticModel,
    features: Matrix,
    labels: Matrix,
    users: NDArray[Any],
    groups: dict[str, NDArray[Any]],
    *,
    rng: np.random.Generator,
    size_bytes: int = 0,
    confidence: float = CONFIDENCE,
    time_them: bool = True,
) -> Verdict:
    """Compare two models on rows that neither has seen.

    Rows of one customer are drawn together: their clicks are not independent.
    """
    old, new = (_scores(model, features) for model in (champion, challenger))
    gain, low, high = paired(labels, old, new, users, rng, confidence)
    checks = [
        Check(
            "rows",
            len(labels) >= LEAST_ROWS,
            len(labels),
            len(labels),
            f"{len(labels)} to judge on, at least {LEAST_ROWS} are needed",
        ),
        Check(
            "log loss",
            low > 0,
            float(metrics.losses(labels, old).mean()),
            float(metrics.losses(labels, new).mean()),
            f"lower by {gain:+.6f} ({low:+.6f} to {high:+.6f} at {confidence:.0%})",
        ),
    ]
    before, after = metrics.ece(labels, old), metrics.ece(labels, new)
    checks.append(
        Check(
            "calibration",
            after <= before + ECE_SLACK,
            before,
            after,
            f"expected calibration error {after:.4f} after {before:.4f}",
        )
    )
    checks += _groups(labels, old, new, groups)
    checks.append(
        Check(
            "size", size_bytes <= MOST_BYTES, 0, size_bytes, f"{size_bytes} of {MOST_BYTES} bytes"
        )
    )
    if time_them:
        slow, fast = latency_us(challenger, features), latency_us(champion, features)
        checks.append(
            Check(
                "latency",
                slow <= LATENCY_RATIO * fast,
                fast,
                slow,
                f"{slow:.2f} µs a score after {fast:.2f}",
            )
        )
    return Verdict(
        champion=champion.version,
        challenger=challenger.version,
        won=all(check.passed for check in checks),
        rows=len(labels),
        gain=gain,
        low=low,
        high=high,
        confidence=confidence,
        checks=tuple(checks),
    )


def paired(
    labels: Matrix,
    old: Matrix,
    new: Matrix,
    users: NDArray[Any],
    rng: np.random.Generator,
    confidence: float = CONFIDENCE,
    draws: int = DRAWS,
) -> tuple[float, float, float]:
    """The gain in log loss and its interval, one-sided ``confidence`` at each end."""
    if not len(labels):
        return 0.0, 0.0, 0.0
    saved = metrics.losses(labels, old) - metrics.losses(labels, new)
    _, place = np.unique(users, return_inverse=True)
    sums, counts = np.bincount(place, saved), np.bincount(place).astype(np.float64)
    drawn = np.empty(draws)
    for number in range(draws):
        mass = rng.poisson(1.0, len(sums))
        drawn[number] = (mass @ sums) / max(1.0, float(mass @ counts))
    low, high = np.quantile(drawn, (1 - confidence, confidence))
    return float(saved.mean()), float(low), float(high)


def latency_us(model: LogisticModel, features: Matrix, rows: int = 2_000) -> float:
    """Microseconds of one score as the stream takes it, the best of three rounds."""
    vectors: Sequence[list[float]] = np.asarray(features[:rows]).tolist()
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        for vector in vectors:
            model.score(vector)
        best = min(best, time.perf_counter() - began)
    return 1e6 * best / max(1, len(vectors))


def _scores(model: LogisticModel, features: Matrix) -> Matrix:
    logits = np.asarray(features) @ np.array(model.weights) + model.bias
    odds = np.exp(-np.abs(logits))
    found: Matrix = np.where(logits >= 0, 1.0, odds) / (1.0 + odds)
    return found


def _groups(
    labels: Matrix, old: Matrix, new: Matrix, groups: dict[str, NDArray[Any]]
) -> list[Check]:
    """The group that fares worst under the challenger, against what it had before."""
    before, after = metrics.losses(labels, old), metrics.losses(labels, new)
    worst = Check("groups", True, 0, 0, "none large enough to tell")
    most = -np.inf
    for kind, column in groups.items():
        for name in np.unique(column):
            mine = column == name
            if mine.sum() < GROUP_ROWS:
                continue
            was, now = float(before[mine].mean()), float(after[mine].mean())
            if (ratio := now / was) > most:
                most = ratio
                worst = Check(
                    "groups",
                    ratio <= 1 + GROUP_SLACK,
                    was,
                    now,
                    f"{kind} {name}: log loss {now:.4f} after {was:.4f}",
                )
    return [worst]
