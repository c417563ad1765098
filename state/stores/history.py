"""Facts and decisions as rows of history: JSON of what is known of each."""

from __future__ import annotations

from typing import Any, Final, Literal, cast

import msgspec

from schemas.decision import Decision
from schemas.wire import encode
from state.fact import Fact
from state.stores.base import Entry

_BOOKKEEPING: Final = frozenset({"ts", "id64", "seq"})


def fact_json(fact: Fact) -> bytes:
    """What is known in a fact, by the names of its fields; personal data is masked already."""
    known = {
        name: _plain(value)
        for name in fact.__struct_fields__
        if name not in _BOOKKEEPING and (value := getattr(fact, name)) is not None
    }
    return encode(known)


def decision_json(decision: Decision) -> bytes:
    """What is known in a decision."""
    return encode(_known(decision))


def entry(ts: int, kind: Literal["fact", "decision"], body: bytes) -> Entry:
    """A row as it is read."""
    return Entry(ts, kind, msgspec.json.decode(body))


def _plain(value: Any) -> Any:
    return _known(value) if isinstance(value, msgspec.Struct) else value


def _known(record: msgspec.Struct) -> dict[str, Any]:
    fields = cast(dict[str, Any], msgspec.to_builtins(record))
    return {name: value for name, value in fields.items() if value is not None}
