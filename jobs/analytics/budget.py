"""Tomorrow's money over campaigns and channels: a linear programme over learned, concave responses.

What a sum spent on a campaign's channel brings is ``gain`` × ln(1 + spent / ``scale``): each
further unit brings less. Cut into pieces of falling slope it is linear, and a programme that seeks
the most fills the steepest pieces first by itself, so HiGHS finds the split and its dual prices.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import expm1, inf, isfinite, log1p
from typing import Any, Final

import numpy as np
from msgspec import Struct

from schemas.errors import UserMistake

PIECES: Final = 24
LEAST_DAYS: Final = 3


class Response(Struct, frozen=True):
    """What spending brings: ``gain`` × ln(1 + spent / ``scale``)."""

    gain: float
    scale: float

    def value(self, spent: float) -> float:
        """What a sum brings."""
        return self.gain * log1p(spent / self.scale)


class Line(Struct, frozen=True):
    """One campaign on one channel: how it responds and between what sums it may be paid.

    ``pieces`` are (most to spend, what a unit brings), steepest first; they end at the ceiling.
    """

    campaign: str
    channel: str
    pieces: tuple[tuple[float, float], ...]
    least: float = 0.0

    @property
    def ceiling(self) -> float:
        """The most that it can take."""
        return sum(width for width, _ in self.pieces)


class Bounds(Struct, frozen=True):
    """Least and most for a channel over all campaigns."""

    least: float = 0.0
    most: float = inf


class Split(Struct, frozen=True):
    """The plan. ``price`` is what one more unit of money would bring: a message that brings less
    for its cost is not worth sending. ``channel_prices`` is what a unit more of a channel's ceiling
    would bring (above 0), or a unit less of its least amount would save (below 0).
    """

    spend: dict[tuple[str, str], float]
    value: float
    price: float
    channel_prices: dict[str, float]


def learn_response(spent: Any, brought: Any, scales: int = 24) -> Response:
    """The likeliest response (least squares) through days of (spent, brought).

    Raises:
        UserMistake: fewer than `LEAST_DAYS` days of spending, or a figure that cannot be.
    """
    x, y = np.asarray(spent, dtype=float), np.asarray(brought, dtype=float)
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or (x < 0).any():
        raise UserMistake("a day's spending or its value is no number of 0 or more")
    if int((x > 0).sum()) < LEAST_DAYS:
        raise UserMistake(f"spent on {int((x > 0).sum())} days; a response needs {LEAST_DAYS}")
    best: tuple[float, Response] | None = None
    for scale in np.geomspace(x[x > 0].min() / 10, x.max() * 100, scales * 2):
        shape = np.log1p(x / scale)
        gain = max(0.0, float(shape @ y / (shape @ shape)))
        loss = float(((y - gain * shape) ** 2).sum())
        if best is None or loss < best[0]:
            best = loss, Response(gain, float(scale))
    assert best is not None
    return best[1]


def pieces(
    response: Response, ceiling: float, count: int = PIECES
) -> tuple[tuple[float, float], ...]:
    """The response up to a ceiling as pieces of equal fall: (width, slope), steepest first."""
    if ceiling <= 0:
        return ()
    top = log1p(ceiling / response.scale)
    edges = [response.scale * expm1(top * at / count) for at in range(count + 1)]
    return tuple(
        (high - low, (response.value(high) - response.value(low)) / (high - low))
        for low, high in pairwise(edges)
    )


def split(lines: Sequence[Line], budget: float, channels: dict[str, Bounds] | None = None) -> Split:
    """The plan of the greatest value within the budget.

    Raises:
        UserMistake: a figure that cannot be, or least amounts that the budget cannot pay.
    """
    from scipy.optimize import linprog

    _check(lines, budget)
    bounds_of = channels or {}
    worth, owner, limits = [], [], []
    for at, line in enumerate(lines):
        for width, slope in line.pieces:
            worth.append(slope)
            owner.append(at)
            limits.append((0.0, width))
    owners = np.array(owner, dtype=int)
    rows, most, about = [np.ones(len(worth))], [budget], ["budget"]
    for name in sorted(bounds_of):
        mine = np.isin(owners, [at for at, line in enumerate(lines) if line.channel == name])
        if isfinite(bounds_of[name].most):
            rows.append(mine.astype(float))
            most.append(bounds_of[name].most)
            about.append(name)
        if bounds_of[name].least > 0:
            rows.append(-mine.astype(float))
            most.append(-bounds_of[name].least)
            about.append(f"-{name}")
    for at, line in enumerate(lines):
        if line.least > 0:
            rows.append(-(owners == at).astype(float))
            most.append(-line.least)
            about.append("")
    solved = linprog(
        [-each for each in worth],
        A_ub=np.vstack(rows),
        b_ub=most,
        bounds=limits,
        method="highs",
    )
    if not solved.success:
        raise UserMistake(
            f"no plan for a budget of {budget:,g}: the least amounts do not go with it and "
            "with the channels' ceilings; lower a least or raise the budget"
        )
    spend: dict[tuple[str, str], float] = {}
    for at, line in enumerate(lines):
        spend[line.campaign, line.channel] = round(float(solved.x[owners == at].sum()), 6)
    prices = dict.fromkeys(sorted(bounds_of), 0.0)
    for name, marginal in zip(about, solved.ineqlin.marginals, strict=True):
        if name.lstrip("-") in prices:
            prices[name.lstrip("-")] += float(marginal if name.startswith("-") else -marginal)
    return Split(
        spend,
        round(-float(solved.fun), 6),
        max(0.0, -float(solved.ineqlin.marginals[0])),
        prices,
    )


def _check(lines: Sequence[Line], budget: float) -> None:
    if not lines:
        raise UserMistake("no campaign to spend on: name at least one")
    if not isfinite(budget) or budget < 0:
        raise UserMistake(f"the budget is {budget}; give a number of 0 or more")
    for line in lines:
        where = f"{line.campaign} on {line.channel}"
        slopes = [slope for _, slope in line.pieces]
        if any(not isfinite(each) or each < 0 for piece in line.pieces for each in piece):
            raise UserMistake(f"{where}: a piece is no number of 0 or more")
        if any(after > before + 1e-9 for before, after in pairwise(slopes)):
            raise UserMistake(f"{where}: its response rises the more is spent; it must fall off")
        if line.least > line.ceiling:
            raise UserMistake(
                f"{where}: its least, {line.least:,g}, is above its ceiling, {line.ceiling:,g}"
            )
    needed = sum(line.least for line in lines)
    if needed > budget:
        raise UserMistake(
            f"a budget of {budget:,g} is not enough: the least amounts alone take {needed:,g}; "
            "raise the budget, or lower a least"
        )
