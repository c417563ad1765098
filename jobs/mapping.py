"""From somebody's columns to our events: the mapping file of ``beckon replay``.

    format: csv                 # csv, jsonl or parquet; default: by the file's name
    header: false               # csv: whether the first row names the columns
    columns: [who, what, when]  # csv without a header: its columns
    event:
      user_id: who                                        # a column (jsonl: a.dotted.path)
      action: {from: what, values: {pv: view}, otherwise: view}
      ts: {from: when, time: epoch_s}                     # epoch_s, epoch_ms, iso or a strptime
      price: {from: amount, default: 0}                   #   format; zone: for times without one
      consent.marketing: {constant: true}                 # nested fields by a dotted name

Values are converted to the contract's types ("12.5" → 12.5). An empty value is an absent one. A
row that makes no valid event raises `Unmappable`, with a reason to count it under.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct, field

from jobs.yaml_file import Document
from schemas.errors import InvalidRecord, UserMistake
from schemas.event import BehaviorEvent
from schemas.wire import decode_event, encode, instant_ms

Format = Literal["csv", "jsonl", "parquet"]
Convert = Callable[[Any], Any]

_REQUIRED: Final = ("user_id", "action", "ts")
_SAMPLE: Final = {"event_id": "-", "user_id": "-", "action": "view", "ts": 0}


class Unmappable(Exception):
    """A row that makes no valid event; ``reason`` is one of few, ``detail`` says what was there."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Keep what to count it under, and the particulars."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Where one field of the event comes from."""

    column: str | None = field(name="from", default=None)
    constant: Any = None
    values: dict[str, Any] | None = None
    otherwise: Any = None
    default: Any = None
    time: str | None = None
    zone: str | None = None


class MappingFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The mapping as it is written."""

    event: Annotated[
        dict[str, str | Source], Meta(description="which column each field of the event is")
    ]
    format: Format | None = None
    header: bool = True
    columns: tuple[str, ...] = ()
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","


class _Step(Struct, frozen=True):
    """One field that is taken from a column; ``group`` is the outer name of a nested one."""

    column: int
    label: str
    group: str | None
    name: str
    convert: Convert
    default: Any


class Mapping:
    """A mapping that is ready to run.

    ``sources`` are the columns it wants, in the order in which `event` takes their values.
    """

    def __init__(self, file: MappingFile, mistake: Callable[[tuple[str, ...], str], str]) -> None:
        """Check it; ``mistake`` phrases what is wrong at a place in the file.

        Raises:
            UserMistake: one line for each field that cannot work.
        """
        self.file = file
        self.sources: list[str] = []
        self._steps: list[_Step] = []
        self._constants: dict[str, Any] = {}
        faults: list[str] = []
        for label, given in file.event.items():
            try:
                self._add(label, Source(column=given) if isinstance(given, str) else given)
            except UserMistake as fault:
                faults.append(mistake(("event", label), str(fault)))
        faults += [
            mistake(("event",), f"{name} is missing; every event has one")
            for name in _REQUIRED
            if name not in file.event
        ]
        if not file.header and not file.columns:
            faults.append(mistake(("header",), "without a header, `columns:` must name them"))
        if faults:
            raise UserMistake("\n".join(faults))

    def event(self, row: Sequence[Any], fallback_id: str) -> tuple[BehaviorEvent, bytes]:
        """The event of a row, whose values are in the order of `sources`, and its payload.

        What the stream would refuse is refused here, by the same check.

        Raises:
            Unmappable: the row makes no valid event.
        """
        draft: dict[str, Any] = {"event_id": fallback_id, **self._constants}
        for step in self._steps:
            value = row[step.column]
            if value is None or value == "" or value != value:  # NaN is how tables say nothing
                value = step.default
                if value is None:
                    if step.label in _REQUIRED:
                        raise Unmappable(f"{step.label} is empty")
                    continue
            else:
                try:
                    value = step.convert(value)
                except (ValueError, TypeError, OverflowError) as error:
                    raise Unmappable(f"{step.label} cannot be read", str(error)) from None
                except LookupError:
                    raise Unmappable(f"{step.label} is not in `values`", repr(value)) from None
            if step.group is None:
                draft[step.name] = value
            else:
                draft[step.group] = {**draft.get(step.group, {}), step.name: value}
        try:
            payload = encode(draft)
            event = decode_event(payload)
            instant_ms(event.ts)
        except UnicodeEncodeError as error:
            raise Unmappable("a row is not UTF-8", error.reason) from None
        except InvalidRecord as error:
            raise Unmappable(f"the contract refuses it as {error.reason}", error.detail) from None
        return event, payload

    def _add(self, label: str, source: Source) -> None:
        kind = _CONTRACT.get(label)
        group, _, name = label.rpartition(".")
        if source.column is None:
            if source.constant is None:
                raise UserMistake("give it a column (`from:`) or a `constant:`")
            self._add_constant(label, source.constant)
            return
        if kind is None:
            raise UserMistake(f"no such field; there are: {', '.join(_CONTRACT)}")
        if source.constant is not None:
            raise UserMistake("`from:` and `constant:` exclude each other; take one out")
        if source.otherwise is not None and source.values is None:
            raise UserMistake("`otherwise:` is for values that are not in `values:`; add a table")
        if (source.time or source.zone) and label != "ts":
            raise UserMistake("`time:` and `zone:` belong to ts alone")
        ours = [*(source.values or {}).values(), source.otherwise, source.default]
        for value in ours:
            if value is not None:
                _check(label, value)
        if source.values is not None:
            convert = _table(source.values, source.otherwise)
        elif label == "ts":
            convert = _clock(source.time or "iso", source.zone)
        else:
            convert = kind
        if source.column not in self.sources:
            self.sources.append(source.column)
        self._steps.append(
            _Step(
                self.sources.index(source.column),
                label,
                group or None,
                name,
                convert,
                source.default,
            )
        )

    def _add_constant(self, label: str, value: Any) -> None:
        group, _, name = label.rpartition(".")
        inner = [f"{label}.{key}" for key in value] if isinstance(value, dict) else [label]
        for path in inner:
            if path not in _CONTRACT:
                raise UserMistake(f"no field {path!r}; there are: {', '.join(_CONTRACT)}")
        _check(label, value)
        if group:
            value = {**self._constants.get(group, {}), name: value}
        self._constants[group or name] = value


def _check(label: str, value: Any) -> None:
    """Refuse a value of the mapping's own that would break every event."""
    group, _, name = label.rpartition(".")
    nested = {group: {name: value}} if group else {name: value}
    try:
        decode_event(encode(_SAMPLE | nested))
    except InvalidRecord as error:
        what = error.detail.partition(" - at")[0]
        raise UserMistake(f"{value!r} breaks the contract: {what}") from None


def read_mapping(path: Path) -> Mapping:
    """Read a mapping file.

    Raises:
        UserMistake: each mistake with file, line, field and fix.
    """
    document = Document(path)
    return Mapping(document.into(MappingFile), document.mistake)


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if type(value) is bool:
        raise ValueError(f"{value} is no text")
    if type(value) is float and value.is_integer():
        return str(int(value))  # a table with gaps keeps its integers as floats
    if isinstance(value, int | float):
        return str(value)
    raise ValueError(f"{type(value).__name__} is no text")


def _number(value: Any) -> float:
    number = float(value)
    if number - number != 0:
        raise ValueError(f"{value!r} is not finite")
    return number


def _integer(value: Any) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError(f"{value!r} is no whole number")
    return int(number)


def _flag(value: Any) -> bool:
    if type(value) is bool:
        return value
    word = str(value).lower()
    if word in ("true", "1", "yes", "y", "t"):
        return True
    if word in ("false", "0", "no", "n", "f"):
        return False
    raise ValueError(f"{value!r} is neither true nor false")


def _table(values: dict[str, Any], otherwise: Any) -> Convert:
    def look_up(value: Any) -> Any:
        key = str(value)
        return values[key] if otherwise is None else values.get(key, otherwise)

    return look_up


def _clock(form: str, zone_name: str | None) -> Convert:
    """From one of the time formats to UTC milliseconds; times repeat, so the last are kept."""
    try:
        zone = None if zone_name is None else ZoneInfo(zone_name)
    except (ValueError, OSError, KeyError):
        raise UserMistake(
            f"zone {zone_name!r} is no IANA time zone, such as Asia/Shanghai"
        ) from None
    if form in ("epoch_s", "epoch_ms"):
        factor = 1_000 if form == "epoch_s" else 1

        def epoch(value: Any) -> int:
            if isinstance(value, datetime):
                raise ValueError("is a date-time already; write `time: iso`")
            try:
                return int(value) * factor if type(value) is not float else round(value * factor)
            except ValueError:
                return round(_number(value) * factor)

        return epoch
    if form != "iso" and "%" not in form:
        raise UserMistake(
            f"time {form!r} is none of epoch_s, epoch_ms, iso or a format such as %Y-%m-%d %H:%M:%S"
        )
    if form != "iso" and zone is None and "%z" not in form:
        raise UserMistake(f"time {form!r} has no %z; add `zone:`, such as Asia/Shanghai")

    @lru_cache(4_096)
    def calendar(value: Any) -> int:
        if isinstance(value, datetime):
            moment = value
        elif form == "iso":
            moment = datetime.fromisoformat(value)
        else:
            moment = datetime.strptime(value, form)
        if moment.tzinfo is None:
            if zone is None:
                raise ValueError(f"{value} has no zone; add `zone:` to the mapping")
            moment = moment.replace(tzinfo=zone)
        return round((moment - _EPOCH).total_seconds() * 1_000)

    return calendar


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS: Final[dict[type, Convert]] = {
    msgspec.inspect.StrType: _text,
    msgspec.inspect.FloatType: _number,
    msgspec.inspect.IntType: _integer,
    msgspec.inspect.BoolType: _flag,
}


def _contract(shape: msgspec.inspect.StructType, prefix: str = "") -> dict[str, Convert]:
    """Every field of a contract by its dotted name, with how to read one."""
    found: dict[str, Convert] = {}
    for member in shape.fields:
        name = prefix + member.encode_name
        for kind in getattr(_bare(member.type), "types", (member.type,)):
            kind = _bare(kind)
            if isinstance(kind, msgspec.inspect.StructType):
                found |= _contract(kind, f"{name}.")
            elif type(kind) in _KINDS:
                found[name] = _KINDS[type(kind)]
    found.pop("schema_version", None)
    return found


def _bare(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    while isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    return kind


_CONTRACT: Final = _contract(msgspec.inspect.type_info(BehaviorEvent))  # type: ignore[arg-type]
