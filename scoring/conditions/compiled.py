"""A checked condition as closures over what it is asked of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Generic

from scoring.conditions.check import Atom, Pair, Single, check
from scoring.conditions.names import Name, Source, View, Vocabulary, of_event, of_profile
from scoring.conditions.syntax import And, Not, Or, Tree, parse
from state.fact import Fact

_KEPT: Final = 4_096
Holds = Callable[[Source], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Condition(Generic[Source]):
    """A condition ready to be asked; ``holds`` is pure and fast."""

    text: str
    holds: Holds[Source]
    tree: Tree[Atom[Source]]

    def names(self) -> frozenset[Name[Source]]:
        """What it looks at."""
        return frozenset(_names(self.tree))

    def why_not(self, source: Source) -> str:
        """The first part that does not hold, with the values it looked at; empty if all do."""
        return "" if self.holds(source) else _failure(self.tree, source)


@lru_cache(_KEPT)
def audience(text: str) -> Condition[View] | None:
    """The condition over a customer's profile, None for an empty one.

    Raises:
        ConditionError: it cannot be read or does not fit the catalogue.
    """
    return _condition(text, of_profile())


@lru_cache(_KEPT)
def when(text: str) -> Condition[Fact] | None:
    """The condition over the event that sets a campaign off; as `audience`."""
    return _condition(text, of_event())


def _condition(text: str, names: Vocabulary[Source]) -> Condition[Source] | None:
    if not text.strip():
        return None
    tree = check(parse(text), names)
    return Condition(text, _holds(tree), tree)


def _holds(tree: Tree[Atom[Source]]) -> Holds[Source]:
    match tree:
        case Not(part):
            inner = _holds(part)
            return lambda source: not inner(source)
        case And(parts):
            return _all(tuple(map(_holds, parts)))
        case Or(parts):
            return _any(tuple(map(_holds, parts)))
        case Single(name, holds):
            get = name.get
            return lambda source: holds(get(source))
        case Pair(left, matches, right):
            get_left, get_right = left.get, right.get
            return lambda source: matches(get_left(source), get_right(source))
    raise AssertionError(tree)


def _all(parts: tuple[Holds[Source], ...]) -> Holds[Source]:
    def holds(source: Source) -> bool:
        for part in parts:  # noqa: SIM110 - a generator would cost as much as the parts
            if not part(source):
                return False
        return True

    return holds


def _any(parts: tuple[Holds[Source], ...]) -> Holds[Source]:
    def holds(source: Source) -> bool:
        for part in parts:  # noqa: SIM110 - as above
            if part(source):
                return True
        return False

    return holds


def _failure(tree: Tree[Atom[Source]], source: Source) -> str:
    match tree:
        case And(parts):
            return next(_failure(part, source) for part in parts if not _holds(part)(source))
        case Or(parts):
            return " and ".join(_failure(part, source) for part in parts)
        case Not(part):
            return f"`not {part}` fails{_looked_at(part, source)}"
    return f"`{tree}` fails{_looked_at(tree, source)}"


def _looked_at(tree: Tree[Atom[Source]], source: Source) -> str:
    seen = {name.name: name.get(source) for name in _names(tree)}
    said = ", ".join(
        f"{name} is {'unknown' if value is None else value}" for name, value in seen.items()
    )
    return f" ({said})"


def _names(tree: Tree[Atom[Source]]) -> Iterator[Name[Source]]:
    match tree:
        case Not(part):
            yield from _names(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from _names(part)
        case Single(name):
            yield name
        case Pair(left, _, right):
            yield from (left, right)
