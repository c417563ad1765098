"""What can be known of a condition before anybody is asked: that it fits nobody, or everybody.

A condition is spread into its alternatives, each a list of phrases that must hold at once. Names
do not depend on each other, so an alternative is possible when each name has some value that suits
all of its phrases; and as a phrase changes its mind only at its constants, a few values stand for
all. Phrases over two names are taken to be possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import ceil, floor
from typing import Any, Final, NamedTuple, TypeAlias

from scoring.conditions.check import Atom, Pair, Single
from scoring.conditions.names import Name, Source
from scoring.conditions.syntax import And, Not, Or, Tree

MAX_ALTERNATIVES: Final = 512
"""A condition of more alternatives is not looked into: nothing is claimed about it."""


class _Phrase(NamedTuple):
    """A phrase about one name, or the opposite of one."""

    single: Single[Any]
    positive: bool

    def suits(self, value: object) -> bool:
        return self.single.holds(value) is self.positive

    def __str__(self) -> str:
        return f"`{'' if self.positive else 'not '}{self.single.phrase}`"


_Alternatives: TypeAlias = list[tuple[_Phrase, ...]]


def nobody(tree: Tree[Atom[Source]]) -> str | None:
    """Why nothing can ever fit the condition; None when something can, or it cannot be told."""
    alternatives = _spread(tree, True)
    if alternatives is None:
        return None
    reasons = []
    for alternative in alternatives:
        reason = _conflict(alternative)
        if reason is None:
            return None
        reasons.append(reason)
    return reasons[0]


def everybody(tree: Tree[Atom[Source]]) -> bool:
    """Whether the condition fits whatever may come, so that it says nothing."""
    opposite: Tree[Atom[Source]] = Not(tree)
    return nobody(opposite) is not None


def _spread(tree: Tree[Atom[Source]], positive: bool) -> _Alternatives | None:
    """Disjunctive normal form; None when it has too many alternatives."""
    match tree:
        case Not(part):
            return _spread(part, not positive)
        case Single():
            return [(_Phrase(tree, positive),)]
        case Pair():
            return [()]
        case And(parts) | Or(parts):
            both = isinstance(tree, And) is positive
            found: _Alternatives = [()] if both else []
            for part in parts:
                spread = _spread(part, positive)
                if spread is None:
                    return None
                found = [a + b for a in found for b in spread] if both else found + spread
                if len(found) > MAX_ALTERNATIVES:
                    return None
            return found


def _conflict(phrases: tuple[_Phrase, ...]) -> str | None:
    """The least part of the phrases that cannot hold at once, in words; None when all can."""
    by_name: dict[str, list[_Phrase]] = {}
    for phrase in phrases:
        by_name.setdefault(phrase.single.name.name, []).append(phrase)
    for about in by_name.values():
        if _possible(about):
            continue
        for size in range(1, len(about) + 1):
            for few in combinations(about, size):
                if not _possible(few):
                    return _words(few)
    return None


def _possible(phrases: tuple[_Phrase, ...] | list[_Phrase]) -> bool:
    name = phrases[0].single.name
    constants = {value for phrase in phrases for value in phrase.single.constants}
    return any(all(phrase.suits(value) for phrase in phrases) for value in _values(name, constants))


def _values(name: Name[Any], constants: set[Any]) -> Iterator[object]:
    """Values of a name that stand for all it can have, as far as the constants tell them apart."""
    yield None
    match name.type:
        case "flag":
            yield from (True, False)
        case "text":
            yield from name.words or (*constants, "\x00")  # the last stands for any other word
        case "number":
            for value in _numbers(constants, name.whole):
                if (name.low is None or value >= name.low) and (
                    name.high is None or value <= name.high
                ):
                    yield value
            yield from (edge for edge in (name.low, name.high) if edge is not None)


def _numbers(constants: set[float], whole: bool) -> Iterator[float]:
    ordered = sorted(constants or {0.0})
    if whole:
        for value in ordered:
            yield from (floor(value) - 1, floor(value), ceil(value), ceil(value) + 1)
        return
    yield ordered[0] - 1
    for value, following in zip(ordered, (*ordered[1:], ordered[-1] + 2), strict=True):
        yield from (value, (value + following) / 2)


def _words(phrases: tuple[_Phrase, ...]) -> str:
    name = phrases[0].single.name
    if len(phrases) > 1:
        return f"{' and '.join(map(str, phrases))} cannot hold at once"
    limits = ["a whole number"] if name.whole else []
    if name.words:
        limits.append(f"one of {', '.join(name.words)}")
    if name.low is not None:
        limits.append(f"at least {name.low:g}")
    if name.high is not None:
        limits.append(f"at most {name.high:g}")
    return f"{phrases[0]} never holds: {name.name} is {', '.join(limits)}"
