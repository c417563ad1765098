"""When a condition over a profile may turn by the passing of time alone.

Nothing has to happen for ``tempo_idle_s > 30d`` to become true or for ``rfm_monetary_30d >= 500``
to become false. Of each part of a condition the first moment is found at which it turns while the
profile stays as it is: ages are straight lines, so that is arithmetic; what is counted in a window
changes in one direction as the window moves on, so that is a search by halves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import floor, inf
from typing import Any, Final

from scoring.conditions.check import Atom, Pair, Single
from scoring.conditions.compiled import Condition
from scoring.conditions.names import Name, View
from scoring.conditions.syntax import And, Not, Or, Tree
from state.tagging.base import DAY_MS, HOUR_MS
from state.tagging.brands import Brands
from state.tagging.carts import PATIENCE_MS, Carts
from state.tagging.categories import Categories
from state.tagging.sessions import GAP_MS, Sessions

HORIZON_MS: Final = 400 * DAY_MS
"""What turns later than this is looked at again by then."""

_FALLING: Final = frozenset({"trait_member_days_left"})
_RISING: Final = frozenset(
    {
        "tempo_idle_s",
        "tempo_known_days",
        "rfm_recency_days",
        "rfm_customer_days",
        "trait_signup_days",
    }
)
_UNIT_MS: Final = {"s": 1_000, "d": DAY_MS}
_WINDOWS: Final = {
    "1h": (HOUR_MS, HOUR_MS // 12),
    "24h": (DAY_MS + HOUR_MS, HOUR_MS),
    "7d": (8 * DAY_MS, DAY_MS),
    "30d": (31 * DAY_MS, DAY_MS),
    "90d": (91 * DAY_MS, DAY_MS),
}
"""How far a window reaches, and the grid on which it moves on, all counted from the epoch."""
_CART_MS: Final = tuple(after_ms + PATIENCE_MS for after_ms in (0, DAY_MS, 7 * DAY_MS))

ViewAt = Callable[[int], View]

_Part = Callable[[ViewAt, int, int | None], int | None]
"""When one part turns after a moment, before another; None for not at all."""

Turning = tuple[_Part, ...]


def turns_ms(
    parts: Turning, view_at: ViewAt, now_ms: int, planned_ms: int | None = None
) -> int | None:
    """The first moment after ``now_ms`` at which one of the parts turns; None for never.

    ``view_at`` gives the profile as it will be at a moment if nothing happens. With ``planned_ms``,
    a moment at which somebody looks again in any case, what turns after it is not searched for:
    then that moment is returned.
    """
    first = planned_ms
    for part in parts:
        turn = part(view_at, now_ms, first)
        if turn is not None and (first is None or turn < first):
            first = turn
    return first


def turning(condition: Condition[View]) -> Turning:
    """The parts of a condition that time can turn."""
    return tuple(part for atom in _atoms(condition.tree) if (part := _part(atom)) is not None)


def least(condition: Condition[View]) -> tuple[Name[View], float] | None:
    """Of a condition that asks one dimension for at least so much: which, and how much.

    Only of dimensions that time alone can lower but not raise; None for any other condition.
    """
    atom = condition.tree
    if not isinstance(atom, Single) or atom.name.type != "number" or len(atom.constants) != 1:
        return None
    name = atom.name
    if _slope(name) or (_rungs(name) and name.name.rpartition("_")[2] not in _WINDOWS):
        return None
    if name.tag is Carts or not atom.holds(inf) or atom.holds(-inf):
        return None
    return name, float(atom.constants[0])


def _part(atom: Atom[View]) -> _Part | None:
    names = (atom.name,) if isinstance(atom, Single) else (atom.left, atom.right)
    if isinstance(atom, Single) and (slope := _slope(atom.name)) and atom.constants:
        return _line(atom, slope)
    rungs = sorted({rung for name in names for rung in _rungs(name)})
    return _search(atom, tuple(rungs), min(map(_grid_ms, names))) if rungs else None


def _slope(name: Name[View]) -> int:
    """Which way an age moves, 0 for what is none."""
    if name.name in _FALLING:
        return -1
    age = name.name.endswith("_age_s") and name.tag is not Carts
    return 1 if age or name.name in _RISING else 0


def _rungs(name: Name[View]) -> tuple[int, ...]:
    """How far ahead to look, each stretch being one in which the value moves one way."""
    if _slope(name):
        return (HORIZON_MS,)
    if name.tag is Carts:
        return () if name.name == "cart_bought_count_total" else (*_CART_MS, HORIZON_MS)
    if name.tag is Sessions:
        return (GAP_MS + 1, HORIZON_MS)
    if name.tag in (Brands, Categories) and name.name.endswith("_weight"):
        return (HORIZON_MS,)
    if name.name in ("tempo_active_day_ratio", "tempo_streak_days", "trait_age_years"):
        return (HORIZON_MS,)
    window = name.name.rpartition("_")[2]
    return (_WINDOWS[window][0],) if window in _WINDOWS else ()


def _grid_ms(name: Name[View]) -> int:
    """The grid on which all turns of a dimension lie."""
    window = _WINDOWS.get(name.name.rpartition("_")[2])
    return 1 if window is None or name.tag is Carts else window[1]


def _line(atom: Single[View], slope: int) -> _Part:
    """An age: where it meets a constant, and the next moment, for what must be beyond it."""
    get, holds = atom.name.get, atom.holds
    unit_ms = slope * _UNIT_MS[atom.name.unit]
    constants = [float(constant) for constant in atom.constants]

    def part(view_at: ViewAt, now_ms: int, before_ms: int | None) -> int | None:
        value = get(view_at(now_ms))
        if value is None:
            return None
        holds_now, first = holds(value), None
        for constant in constants:
            near_ms = now_ms + floor((constant - float(value)) * unit_ms)
            for moment_ms in range(max(near_ms - 1, now_ms + 1), near_ms + 3):
                if before_ms is not None and moment_ms >= before_ms:
                    break
                if holds(get(view_at(moment_ms))) != holds_now:
                    first = moment_ms if first is None else min(first, moment_ms)
                    break
        return first

    return part


def _search(atom: Atom[View], rungs: tuple[int, ...], grid_ms: int) -> _Part:
    """What moves one way for a stretch: the first stretch with a turn in it, then by halves.

    What holds at one value alone may hold at neither end of a stretch and yet in between. So it is
    the value's place among the constants that is followed: one that it has left never comes back.
    """
    place: Callable[[View], object]
    if isinstance(atom, Single):
        name, check, constants = atom.name, atom.holds, atom.constants

        def holds(view: View) -> bool:
            return check(name.get(view))

        def place(view: View) -> object:
            value: Any = name.get(view)
            if value is None:
                return None
            return [(value > constant) - (value < constant) for constant in constants]

        if name.type != "number" or not constants:
            place = holds
    else:
        left, compare, right = atom.left, atom.holds, atom.right

        def holds(view: View) -> bool:
            return compare(left.get(view), right.get(view))

        place = holds

    def part(view_at: ViewAt, now_ms: int, before_ms: int | None) -> int | None:
        holds_now, start_ms = holds(view_at(now_ms)), now_ms
        for rung in rungs:
            end_ms = now_ms + rung
            if before_ms is not None:
                end_ms = min(end_ms, before_ms)
            end = place(view_at(end_ms))
            while (start := place(view_at(start_ms))) != end:
                low, high = start_ms // grid_ms + 1, end_ms // grid_ms
                while low < high:
                    middle = (low + high) // 2
                    if place(view_at(middle * grid_ms)) == start:
                        low = middle + 1
                    else:
                        high = middle
                start_ms = low * grid_ms
                if holds(view_at(start_ms)) != holds_now:
                    return start_ms
            if end_ms == before_ms:
                return None
            start_ms = end_ms
        return None

    return part


def _atoms(tree: Tree[Atom[View]]) -> Iterator[Atom[View]]:
    match tree:
        case Not(part):
            yield from _atoms(part)
        case And(parts) | Or(parts):
            for each in parts:
                yield from _atoms(each)
        case Single() | Pair():
            yield tree
