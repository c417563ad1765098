"""YAML that people write, read into a Struct; every mistake with its file, line, field and fix.

msgspec says what is wrong and where; the lines come from the YAML node tree, and the words for the
fix from the JSON Schema of the Struct: descriptions of patterns, neighbours of misspelt names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

import msgspec
import yaml

from schemas.errors import UserMistake

T = TypeVar("T", bound=msgspec.Struct)
Place = tuple[str | int, ...]

_AT: Final = re.compile(r" - at `(?:(?:key|value)` in `)?\$(.*)`$", re.DOTALL)
_INT: Final = "tag:yaml.org,2002:int"
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_STEP: Final = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_UNKNOWN: Final = re.compile(r"unknown field `(.+)`")
_INVALID: Final = re.compile(r"Invalid (?:enum )?value '(.*)'", re.DOTALL)
_REGEX: Final = re.compile(r"matching regex (['\"])(.*)\1", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.+)`")
_WANTED: Final = re.compile(
    r"Expected `([^`]+)`(?: (of length )?(<=|>=|<|>) ([-0-9.e+]+))?(?:, got .*)?"
)
_WORDS: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list such as [this, that]",
    "object": "fields of its own, `name: value`",
    "null": "nothing",
}
_LIMITS: Final = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than"}


class Document:
    """A parsed YAML file that knows the line of every value in it."""

    def __init__(self, path: Path) -> None:
        """Parse the file.

        Raises:
            UserMistake: it cannot be read, is no YAML, or its top is no table of fields.
        """
        self.path = path
        self._lines: dict[Place, int] = {}
        loader = yaml.SafeLoader("")
        try:
            text = path.read_text(encoding="utf-8")
            for token in yaml.scan(text):
                if isinstance(token, yaml.AliasToken):
                    raise _no_yaml("aliases (*name) are not read, write the value out", token)
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                raise UserMistake(f"{path}:1: expected `field: value` lines")
            self.data: dict[str, Any] = self._plain(loader, node, ())
        except OSError as error:
            raise UserMistake(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise UserMistake(f"{path}: is not UTF-8 (byte {error.start})") from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            what = error.problem if isinstance(error, _Refused) else f"is no YAML: {error.problem}"
            raise UserMistake(f"{path}:{line}: {what}") from None
        except yaml.YAMLError as error:
            problem = " ".join(str(error).split())
            raise UserMistake(f"{path}: is no YAML: {problem}") from None
        finally:
            loader.dispose()

    def line(self, place: Place) -> int:
        """The line of the value at ``place``, or of the nearest that it would stand in."""
        while place not in self._lines:
            place = place[:-1]
        return self._lines[place]

    def value(self, place: Place) -> Any:
        """The value at ``place``; None where there is none."""
        found: Any = self.data
        for step in place:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return found

    def mistake(self, place: Place, what: str) -> str:
        """One sentence about the value at ``place``: file, line, field, what is wrong."""
        field = ".".join(str(step) for step in place)
        return f"{self.path}:{self.line(place)}: {field + ': ' if field else ''}{what}"

    def refuse(self, faults: Iterable[tuple[Place, str]]) -> None:
        """Raise the faults, in the order of their lines; nothing when there are none.

        Raises:
            UserMistake: a line for each.
        """
        found = sorted(faults, key=lambda fault: self.line(fault[0]))
        if found:
            raise UserMistake("\n".join(self.mistake(*fault) for fault in found))

    def into(self, shape: type[T]) -> T:
        """The document as a ``shape``.

        Raises:
            UserMistake: one line for each field that is not as it must be.
        """
        vocabulary = _Vocabulary(shape)
        self.refuse(self._faults(shape, vocabulary))
        return msgspec.convert(self.data, shape)

    def _plain(self, loader: yaml.SafeLoader, node: yaml.Node, place: Place) -> Any:
        self._lines[place] = node.start_mark.line + 1
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(loader, item, (*place, i)) for i, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            if node.tag == _INT and ":" in node.value:
                return node.value  # 22:30, which YAML 1.1 would read as 1350
            if node.tag == _TIMESTAMP:
                return node.value  # whoever reads it knows what dates they take
            try:
                return loader.construct_object(node)
            except ValueError:  # such as 0b_, which looks like a number
                raise _no_yaml(f"{node.value!r} is no number", node) from None
        table: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _no_yaml("a field's name must be plain text", key)
            if key.value in table:
                raise _no_yaml(f"the field {key.value!r} is given twice", key)
            table[key.value] = self._plain(loader, value, (*place, key.value))
            self._lines[(*place, key.value)] = key.start_mark.line + 1
        return table

    def _faults(
        self, shape: type[msgspec.Struct], vocabulary: _Vocabulary
    ) -> Iterator[tuple[Place, str]]:
        fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
        for name in self.data:
            if name not in fields and name != shape.__struct_config__.tag_field:
                yield (name,), f"unknown field{vocabulary.close(name, fields)}"
        for name, field in fields.items():
            if name in self.data:
                for place, value, kind in _entries(self.data[name], field.type):
                    try:
                        msgspec.convert(value, kind)
                    except msgspec.ValidationError as error:
                        yield vocabulary.explain(error, (name, *place), self.value)
            elif field.required:
                yield (), f"the field {name!r} is missing{vocabulary.about(name)}"


def _entries(value: Any, kind: Any) -> Iterator[tuple[Place, Any, Any]]:
    """A table's keys and values one by one: msgspec does not say which of them is wrong."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(bare) is not dict or not isinstance(value, dict):
        yield (), value, kind
        return
    of_key, of_item = get_args(bare)
    for key, item in value.items():
        yield (key,), key, of_key
        yield (key,), item, of_item


class _Refused(yaml.MarkedYAMLError):
    """YAML that is in order, and that we do not read."""


def _no_yaml(problem: str, at: Any) -> _Refused:
    return _Refused(problem=problem, problem_mark=at.start_mark)


def in_words(text: str, value: Any) -> str:
    """What msgspec wants, in words: ``expected at least 0, not -5``."""
    found = _WANTED.fullmatch(text)
    if found is None:
        return f"{text[:1].lower()}{text[1:]}"
    kinds, length, sign, bound = found.groups()
    if sign is None:
        wanted = " or ".join(_WORDS.get(kind, kind) for kind in kinds.split(" | "))
    else:
        wanted = f"{_LIMITS[sign]} {float(bound):.12g}"
    if length:
        things = "in the list" if kinds == "array" else "character"
        wanted += f" {things}" if kinds == "array" or bound == "1" else f" {things}s"
    return f"expected {wanted}, not {shown(value)}"


def shown(value: Any) -> str:
    """A value of a document, short."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case dict():
            return "fields of its own"
        case list():
            return f"a list of {len(value)}" if value else "an empty list"
        case str():
            return repr(value if len(value) <= 40 else f"{value[:40]}…")
    return str(value)


class _Vocabulary:
    """The names, values and descriptions that a shape knows, for hints."""

    def __init__(self, shape: type[msgspec.Struct]) -> None:
        self._names: list[str] = []
        self._values: dict[str, list[str]] = {}
        self._patterns: dict[str, str] = {}
        self._about: dict[str, str] = {}
        self._collect(msgspec.json.schema(shape))
        config = shape.__struct_config__
        if config.tag_field in self._values:  # what kind of file it is, is settled
            self._values[config.tag_field].remove(str(config.tag))

    def explain(
        self, error: msgspec.ValidationError, start: Place, value: Callable[[Place], Any]
    ) -> tuple[Place, str]:
        """Where the error is, and what is wrong in words that say the fix."""
        text = str(error)
        place = start
        if found := _AT.search(text):
            text = text[: found.start()]
            for name, index in _STEP.findall(found[1]):
                if index != "...":
                    place = (*place, int(index) if index else name)
        if unknown := _UNKNOWN.search(text):
            return (*place, unknown[1]), f"unknown field{self.close(unknown[1], self._names)}"
        if missing := _MISSING.fullmatch(text):
            values = self._values.get(missing[1])
            hint = self.close("", values) if values else self.about(missing[1])
            return place, f"the field {missing[1]!r} is missing{hint}"
        names = [step for step in reversed(place) if isinstance(step, str)]
        if invalid := _INVALID.search(text):
            known = next((self._values[name] for name in names if self._values.get(name)), [])
            return place, f"{invalid[1]!r} is not known{self.close(invalid[1], known)}"
        if regex := _REGEX.search(text):
            pattern = regex[2].replace("\\\\", "\\")
            wanted = self._patterns.get(pattern, f"text matching {pattern}")
            return place, f"expected {wanted}, not {shown(value(place))}"
        what = in_words(text, value(place))
        if names[0] in self._about and what.startswith("expected text, "):
            return place, what.replace("text", self._about[names[0]], 1)
        return place, f"{what}{self.about(names[0])}"

    def close(self, word: str, among: Iterable[str]) -> str:
        """``; did you mean …?``, or what there is."""
        among = list(dict.fromkeys(among))
        near = get_close_matches(word, among, 1)
        if near:
            return f"; did you mean {near[0]!r}?"
        return f"; there are: {', '.join(among)}" if among else ""

    def about(self, name: str) -> str:
        """What the schema says of a field."""
        return f": {self._about[name]}" if name in self._about else ""

    def _collect(self, schema: Any) -> None:
        if isinstance(schema, list):
            for part in schema:
                self._collect(part)
        if not isinstance(schema, dict):
            return
        for name, of in schema.get("properties", {}).items():
            self._names.append(name)
            self._values.setdefault(name, []).extend(_enumerated(of))
            if "description" in of:
                self._about[name] = of["description"]
        if "pattern" in schema and "description" in schema:
            self._patterns[schema["pattern"]] = schema["description"]
        for part in schema.values():
            self._collect(part)


def _enumerated(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for part in schema:
            yield from _enumerated(part)
    elif isinstance(schema, dict):
        yield from (value for value in schema.get("enum", ()) if isinstance(value, str))
        for part in schema.values():
            yield from _enumerated(part)
