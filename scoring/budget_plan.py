"""How to spread a budget over channels: a linear programme, solved by HiGHS.

Each channel has a unit cost, a contribution for each unit, a ceiling and a floor; what is asked for
is how much of each to buy so that the contribution is the greatest the budget can bring.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Final

from msgspec import Struct

from schemas.errors import UserMistake

_DIGITS: Final = 6  # of a unit: the solver's tolerance is finer


class ChannelTerms(Struct, frozen=True):
    """What a channel costs and brings for each unit, and between what amounts it may be bought."""

    name: str
    unit_cost: float
    roi: float
    ceiling: float
    least: float = 0.0


class BudgetPlan(Struct, frozen=True):
    """How much of each channel to buy, in the order given.

    ``contribution`` is what it brings and ``cost`` what it takes; ``worth_of_more`` is what one
    more unit of money would bring, 0 where every channel is at its ceiling.
    """

    amounts: dict[str, float]
    contribution: float
    cost: float
    worth_of_more: float


def optimize_budget(channels: Sequence[ChannelTerms], budget: float) -> BudgetPlan:
    """The plan of the greatest contribution within a budget.

    Raises:
        UserMistake: a figure that cannot be, or a budget below what the floors take.
    """
    _check(channels, budget)
    # Imported here: a quarter of a second that the stream should not pay.
    from scipy.optimize import linprog

    solved = linprog(
        [-channel.roi for channel in channels],
        A_ub=[[channel.unit_cost for channel in channels]],
        b_ub=[budget],
        bounds=[(channel.least, channel.ceiling) for channel in channels],
        method="highs",
    )
    if not solved.success:
        raise UserMistake(f"no plan for a budget of {budget:,g}: {solved.message}")
    amounts = [round(float(amount), _DIGITS) for amount in solved.x]
    return BudgetPlan(
        {channel.name: amount for channel, amount in zip(channels, amounts, strict=True)},
        round(sum(c.roi * amount for c, amount in zip(channels, amounts, strict=True)), _DIGITS),
        round(sum(c.unit_cost * x for c, x in zip(channels, amounts, strict=True)), _DIGITS),
        max(0.0, -float(solved.ineqlin.marginals[0])),
    )


def _check(channels: Sequence[ChannelTerms], budget: float) -> None:
    """Refuse what has no plan, in words."""
    if not channels:
        raise UserMistake("no channel to spend on: name at least one")
    names = [channel.name for channel in channels]
    for name in names:
        if names.count(name) > 1:
            raise UserMistake(f"channel {name!r} is named twice; join its figures")
    for channel in channels:
        for field in ("unit_cost", "roi", "ceiling", "least"):
            value = getattr(channel, field)
            if not isfinite(value) or value < 0:
                raise UserMistake(
                    f"channel {channel.name!r}: {field} is {value}; give a number of 0 or more"
                )
        if channel.least > channel.ceiling:
            raise UserMistake(
                f"channel {channel.name!r}: its least, {channel.least:,g}, is above its ceiling, "
                f"{channel.ceiling:,g}; swap them"
            )
    if not isfinite(budget) or budget < 0:
        raise UserMistake(f"the budget is {budget}; give a number of 0 or more")
    needed = sum(channel.unit_cost * channel.least for channel in channels)
    if needed > budget:
        raise UserMistake(
            f"a budget of {budget:,g} is not enough: the channels' least amounts alone take "
            f"{needed:,g}; raise the budget, or lower a least"
        )
