"""Fit a parsed condition to a vocabulary: names become readers, values what they are compared to.

Units are settled here: ``30m`` is 1 800 for a dimension in seconds, ``20%`` is 0.2 of a share.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import eq, ge, gt, le, lt
from typing import Any, Final, Generic, TypeAlias

from scoring.conditions.names import Name, Source, Vocabulary
from scoring.conditions.syntax import (
    Among,
    And,
    ConditionError,
    Flag,
    Known,
    Not,
    Operator,
    Or,
    Phrase,
    Tree,
    Value,
)

Constant = float | str | bool

_NUMBER: Final = re.compile(r"(-?\d+(?:\.\d+)?)(.*)")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_UNIT_SECONDS: Final = {"s": 1.0, "d": 86_400.0, "h": 3_600.0}
_KINDS: Final = {"number": "a number", "text": "text", "flag": "true or false"}
_UNITS: Final = {
    "": "",
    "s": " in seconds",
    "d": " in days",
    "a": " in years",
    "m": " in metres",
    "h": ", an hour of the day",
    "deg": " in degrees",
    "ms": ", a moment",
    "ratio": " from 0 to 1",
}
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": eq,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}


@dataclass(frozen=True, slots=True)
class Single(Generic[Source]):
    """What one name's value must be; ``phrase`` is how it was written.

    ``holds`` changes its mind at ``constants`` alone. Where it holds for some values and no
    others, ``equals`` are they.
    """

    name: Name[Source]
    holds: Callable[[Any], bool]
    constants: tuple[Constant, ...]
    phrase: str
    equals: tuple[Constant, ...] | None = None

    def __str__(self) -> str:
        return self.phrase


@dataclass(frozen=True, slots=True)
class Pair(Generic[Source]):
    """Two names, both numbers of one unit, against each other."""

    left: Name[Source]
    holds: Callable[[Any, Any], bool]
    right: Name[Source]
    phrase: str

    def __str__(self) -> str:
        return self.phrase


Atom: TypeAlias = Single[Source] | Pair[Source]


def check(tree: Tree[Phrase], names: Vocabulary[Source]) -> Tree[Atom[Source]]:
    """The tree with every phrase fitted to the vocabulary.

    Raises:
        ConditionError: a name is unknown, or a value does not fit it.
    """
    match tree:
        case Not(part):
            return Not(check(part, names))
        case And(parts):
            return And(tuple(check(part, names) for part in parts))
        case Or(parts):
            return Or(tuple(check(part, names) for part in parts))
    return _fitted(tree, names)


def _fitted(phrase: Phrase, names: Vocabulary[Source]) -> Atom[Source]:
    name, said = names[phrase.name], str(phrase)
    match phrase:
        case Known():
            return Single(name, _is_known, (), said)
        case Flag():
            if name.type != "flag":
                raise ConditionError(
                    f"`{name.name}` is {_about(name)}: say what to compare it with, "
                    f"such as `{_example(name)}`"
                )
            return Single(name, _against("=", True), (True,), said)
        case Among(values=values):
            wanted = tuple(_constant(name, value) for value in values)
            return Single(name, frozenset(wanted).__contains__, wanted, said, wanted)
    operator, value = phrase.operator, phrase.value
    if name.type != "number" and operator not in ("=", "!="):
        raise ConditionError(
            f"`{operator}` is for numbers, and `{name.name}` is {_about(name)}: "
            "use `=`, `!=` or `in [...]`"
        )
    if name.type == "number" and value.kind == "word" and value.text in names.names:
        other = names[value.text]
        if other.type != "number" or other.unit != name.unit:
            raise ConditionError(
                f"`{name.name}` ({_about(name)}) cannot be compared with "
                f"`{other.name}` ({_about(other)})"
            )
        return Pair(name, _between(operator), other, said)
    constant = _constant(name, value)
    equals = (constant,) if operator == "=" else None
    return Single(name, _against(operator, constant), (constant,), said, equals)


def _is_known(value: Any) -> bool:
    return value is not None


def _against(operator: Operator, constant: Constant) -> Callable[[Any], bool]:
    """A comparison with a constant: false of what is unknown, but for ``!=``."""
    match operator:
        case "=":
            return lambda value: bool(value == constant)
        case "!=":
            return lambda value: bool(value != constant)
    compare = _COMPARE[operator]
    return lambda value: value is not None and compare(value, constant)


def _between(operator: Operator) -> Callable[[Any, Any], bool]:
    """A comparison of two values: false when either is unknown, but for ``!=``."""
    if operator == "!=":
        equal = _between("=")
        return lambda left, right: not equal(left, right)
    compare = _COMPARE[operator]
    return lambda left, right: left is not None and right is not None and compare(left, right)


def _constant(name: Name[Any], value: Value) -> Constant:
    """What the value is for this name: its type, in its unit."""
    match name.type:
        case "text":
            return value.text
        case "flag":
            if value.kind == "word" and value.text in ("true", "false"):
                return value.text == "true"
            raise ConditionError(f"`{name.name}` is true or false, not {value}")
        case "number":
            if value.kind == "moment" and name.unit == "ms":
                return _moment_ms(value.text)
            if value.kind == "number":
                return _number(name, value.text)
    raise ConditionError(
        f"`{name.name}` is {_about(name)}: compare it with {_wanted(name)}, not {value}"
    )


def _number(name: Name[Any], text: str) -> float:
    found = _NUMBER.fullmatch(text)
    assert found is not None
    number, suffix = float(found[1]), found[2]
    if not suffix:
        return int(number) if number.is_integer() else number
    if suffix == "%" and name.unit == "ratio":
        return round(number / 100, 10)
    if suffix in _SECONDS and name.unit in _UNIT_SECONDS:
        return round(number * _SECONDS[suffix] / _UNIT_SECONDS[name.unit], 10)
    raise ConditionError(
        f"`{text}` does not fit `{name.name}`, which is {_about(name)}: write {_wanted(name)}"
    )


def _moment_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConditionError(f"`{text}` is no date, such as 2026-11-01") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000)


def _about(name: Name[Any]) -> str:
    return _KINDS[name.type] + _UNITS.get(name.unit, f" of {name.unit}")


def _wanted(name: Name[Any]) -> str:
    return {
        "s": "a time such as 30m",
        "d": "a time such as 7d",
        "ms": "a date such as 2026-11-01",
        "ratio": "a share such as 20%",
    }.get(name.unit, "a plain number")


def _example(name: Name[Any]) -> str:
    if name.type == "text":
        return f"{name.name} = something"
    value = {"s": "30m", "d": "7d", "ms": "2026-11-01", "ratio": "20%"}.get(name.unit, "3")
    return f"{name.name} >= {value}"
