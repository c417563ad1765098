"""From a condition's text to its tree and back. What the names mean is not known here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar, cast, get_args

from schemas.errors import RefusedControl

MAX_DEPTH: Final = 32
"""Parentheses and ``not`` within each other; deeper text is refused, not recursed into."""

KEYWORDS: Final = frozenset({"and", "or", "not", "in", "is", "known", "true", "false"})

Operator = Literal["=", "!=", "<", "<=", ">", ">="]

# What people write who know another language, with what to write here.
_HABITS: Final = {
    "==": "=",
    "<>": "!=",
    "=>": ">=",
    "=<": "<=",
    "&&": "and",
    "&": "and",
    "||": "or",
    "|": "or",
    "!": "not",
    **{word.upper(): word for word in KEYWORDS},
    **{word.title(): word for word in KEYWORDS},
}
_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<moment>\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?)
    | (?P<number>-?\d+(?:\.\d+)?(?:%|[a-z]+\b)?)(?![\w.])
    | (?P<quoted>"[^"]*"|'[^']*')
    | (?P<sign>&&|\|\||==|<>|=>|=<|!=|<=|>=|[=<>()\[\],&|!])
    | (?P<word>[^\W\d][\w-]*(?:\.[^\W\d][\w-]*)*|\d[\w-]*)
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


class ConditionError(RefusedControl):
    """A condition that cannot be read or does not fit what there is to compare."""

    def __init__(self, detail: str) -> None:
        """Keep the sentence for people."""
        super().__init__("refused_campaign", detail)


@dataclass(frozen=True, slots=True)
class Value:
    """What a name is compared with, as it was written; what it is depends on the name."""

    kind: Literal["number", "moment", "quoted", "word"]
    text: str

    def __str__(self) -> str:
        if self.kind != "quoted":
            return self.text
        return f"'{self.text}'" if '"' in self.text else f'"{self.text}"'


@dataclass(frozen=True, slots=True)
class Compare:
    """``name < value``."""

    name: str
    operator: Operator
    value: Value

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {self.value}"


@dataclass(frozen=True, slots=True)
class Among:
    """``name in [values]``."""

    name: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{self.name} in [{', '.join(map(str, self.values))}]"


@dataclass(frozen=True, slots=True)
class Known:
    """``name is known``."""

    name: str

    def __str__(self) -> str:
        return f"{self.name} is known"


@dataclass(frozen=True, slots=True)
class Flag:
    """A name alone: it is true."""

    name: str

    def __str__(self) -> str:
        return self.name


Phrase = Compare | Among | Known | Flag
"""The least condition: one that has no condition in it."""

Leaf = TypeVar("Leaf")


@dataclass(frozen=True, slots=True)
class Not(Generic[Leaf]):
    """The opposite of ``part``."""

    part: Tree[Leaf]

    def __str__(self) -> str:
        return f"not {_inside(self.part)}"


@dataclass(frozen=True, slots=True)
class And(Generic[Leaf]):
    """All of ``parts``, of which there are at least two."""

    parts: tuple[Tree[Leaf], ...]

    def __str__(self) -> str:
        return " and ".join(map(_inside, self.parts))


@dataclass(frozen=True, slots=True)
class Or(Generic[Leaf]):
    """At least one of ``parts``, of which there are at least two."""

    parts: tuple[Tree[Leaf], ...]

    def __str__(self) -> str:
        return " or ".join(map(_inside, self.parts))


Tree: TypeAlias = Leaf | Not[Leaf] | And[Leaf] | Or[Leaf]


def _inside(part: object) -> str:
    return f"({part})" if isinstance(part, And | Or) else str(part)


def parse(text: str) -> Tree[Phrase]:
    """The tree of a condition; ``str`` of the tree gives text that parses to it again.

    Raises:
        ConditionError: it is no condition; the sentence says where and what to write.
    """
    reader = _Reader(text)
    tree = reader.either(0)
    reader.finish()
    return tree


class _Token(NamedTuple):
    kind: str
    text: str


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while True:
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].lstrip()
            if rest[0] in "\"'":
                raise ConditionError(f"the quote that opens at {_shown(rest)} is not closed")
            raise ConditionError(f"cannot read {_shown(rest)}")
        kind = match.lastgroup
        assert kind is not None
        word = match[kind]
        if kind in ("word", "sign") and word in _HABITS:
            raise ConditionError(f"write `{_HABITS[word]}` where it says `{word}`")
        if kind == "word" and word in KEYWORDS:
            kind = "keyword"
        found.append(_Token(kind, word[1:-1] if kind == "quoted" else word))
        if kind == "end":
            return found
        at = match.end()


class _Reader:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def either(self, depth: int) -> Tree[Phrase]:
        parts = [self._both(depth)]
        while self._skip("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def finish(self) -> None:
        token = self._tokens[self._at]
        if token.kind == "end":
            return
        if token.text == ")":
            raise ConditionError("there is a `)` that nothing opened")
        raise ConditionError(
            f"expected `and`, `or` or the end before {_shown(token.text)}; text of several words "
            "stands in quotes"
        )

    def _both(self, depth: int) -> Tree[Phrase]:
        parts = [self._part(depth)]
        while self._skip("and"):
            parts.append(self._part(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _part(self, depth: int) -> Tree[Phrase]:
        if depth > MAX_DEPTH:
            raise ConditionError(f"more than {MAX_DEPTH} parentheses or `not` within each other")
        if self._skip("not"):
            return Not(self._part(depth + 1))
        if self._skip("("):
            tree = self.either(depth + 1)
            if not self._skip(")"):
                raise ConditionError(f"expected `)` {_before(self._tokens[self._at])}")
            return tree
        return self._phrase()

    def _phrase(self) -> Tree[Phrase]:
        name = self._next()
        if name.kind != "word":
            raise ConditionError(f"expected a name {_before(name)}")
        if self._skip("is"):
            opposite = self._skip("not")
            if not self._skip("known"):
                raise ConditionError(f"after `{name.text} is` comes `known` or `not known`")
            return Not(Known(name.text)) if opposite else Known(name.text)
        if self._skip("not"):
            if not self._skip("in"):
                raise ConditionError(f"after `{name.text} not` comes `in [...]`")
            return Not(self._among(name.text))
        if self._skip("in"):
            return self._among(name.text)
        for operator in get_args(Operator):
            if self._skip(operator):
                return Compare(name.text, operator, self._value(f"{name.text} {operator}"))
        return Flag(name.text)

    def _among(self, name: str) -> Among:
        if not self._skip("["):
            raise ConditionError(f"after `{name} in` comes a list, such as `[this, that]`")
        values = [self._value(f"{name} in [")]
        while self._skip(","):
            values.append(self._value(f"{name} in [...,"))
        if not self._skip("]"):
            raise ConditionError(f"expected `,` or `]` {_before(self._tokens[self._at])}")
        return Among(name, tuple(values))

    def _value(self, after: str) -> Value:
        token = self._next()
        if token.text in ("true", "false") and token.kind == "keyword":
            return Value("word", token.text)
        if token.kind in ("number", "moment", "quoted", "word"):
            return Value(cast(Any, token.kind), token.text)
        raise ConditionError(f"expected a value after `{after}`")

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def _skip(self, text: str) -> bool:
        token = self._tokens[self._at]
        if token.text != text or token.kind not in ("sign", "keyword"):
            return False
        self._at += 1
        return True


def _before(token: _Token) -> str:
    return "at the end" if token.kind == "end" else f"before {_shown(token.text)}"


def _shown(text: str) -> str:
    return f"`{text[:24]}{'…' if len(text) > 24 else ''}`"
