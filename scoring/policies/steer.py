"""From what a policy would like to the mix in force: floor, speed limit and kill switch.

A policy may be wrong quickly. So each arm keeps a floor of exploration, no share moves by more than
``per_hour`` from anything that it was within the last hour, and a kill switch puts a fixed mix in
force at once. Pure: the next mix follows from the one before, the wish and the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from state.mix import Mix

_HALVINGS: Final = 60


class Limits(Struct, frozen=True):
    """How a campaign's mix may move; ``fixed`` is the kill switch.

    ``floor`` is the least share of each arm, ``per_hour`` by how much one may move in an hour, both
    of all messages. ``fixed`` gives each arm a weight, 0 where none: a fixed mix, or one arm only.
    """

    floor: float = 0.02
    per_hour: float = 0.2
    fixed: Mapping[str, float] | None = None


def steered(mix: Mix | None, wish: Mapping[str, float], at_ms: int, limits: Limits) -> Mix:
    """The mix to put in force: as near to the wish as the limits let it be.

    ``wish`` is the probability of each arm by the policy. A campaign that has no mix yet, or one
    of other arms, starts from the wish; one whose kill switch was on starts from the fixed mix.

    Raises:
        ValueError: no arm, or a kill switch that leaves none.
    """
    arms = tuple(wish)
    if not arms:
        raise ValueError("no arm to make a mix of")
    if limits.fixed is not None:
        weights = [limits.fixed.get(arm, 0.0) for arm in arms]
        total = sum(weights)
        if total <= 0:
            raise ValueError(f"the kill switch names {sorted(limits.fixed)}, the arms are {arms}")
        return Mix(arms, tuple(weight / total for weight in weights), at_ms)
    floor = min(limits.floor, 1 / len(arms))
    target = tuple(wish.values())
    if mix is None or mix.arms != arms:
        even = [floor] * len(arms)
        return Mix(arms, _nearest(target, even, [1.0] * len(arms)), at_ms)
    at_ms = max(at_ms, mix.at_ms)
    was = mix.extremes(at_ms)
    lower = [max(0.0, most - limits.per_hour) for most in was.most]
    upper = [min(1.0, least + limits.per_hour) for least in was.least]
    # A floor that was raised waits where the speed limit leaves no room for all of it.
    raises = [min(max(low, floor), high) - low for low, high in zip(lower, upper, strict=True)]
    room = max(0.0, 1 - sum(lower))
    part = 1.0 if sum(raises) <= room else room / sum(raises)
    floored = [low + part * more for low, more in zip(lower, raises, strict=True)]
    return mix.moved(_nearest(target, floored, upper), at_ms)


def _nearest(
    target: Sequence[float], lower: Sequence[float], upper: Sequence[float]
) -> tuple[float, ...]:
    """The shares between the bounds, together 1, that are nearest to the target.

    The Euclidean projection is the target, raised or lowered by one amount for all arms, cut at
    the bounds; the amount is found by bisection.
    """
    shares = tuple(target)
    if all(map(_between, lower, shares, upper)):
        return shares
    low, high = -1.0, 1.0
    for _ in range(_HALVINGS):
        raised = (low + high) / 2
        shares = tuple(
            min(max(share + raised, least), most)
            for share, least, most in zip(target, lower, upper, strict=True)
        )
        if sum(shares) < 1:
            low = raised
        else:
            high = raised
    return shares


def _between(least: float, share: float, most: float) -> bool:
    return least <= share <= most
